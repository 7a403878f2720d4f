"""No page loads or runs anything; what a link to it shows; and a template may change that."""

import base64
import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from html_page import Page, read
from jinja2 import Environment, PackageLoader
from sample_evaluations import evaluation, flagged, write_evaluation
from sample_results import write_run

PAGES: dict[str, Callable[[Path], Path]] = {
    "study": write_run,
    "evaluation": lambda folder: write_evaluation(folder, evaluation()),
    "flagged": lambda folder: write_evaluation(folder, flagged()),
}


@pytest.fixture(params=PAGES)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Page]:
    return read(PAGES[request.param](tmp_path / "run"))


def meta(page: Page, key: str, name: str) -> str:
    return next(str(a["content"]) for tag, a in page.attributes if tag == "meta" and a.get(key) == name)


def test_no_script_and_no_address(made: tuple[str, Page]) -> None:
    html, page = made
    loads = {"script", "link", "iframe", "object", "embed", "base", "form", "audio", "video"}
    assert not loads & {tag for tag, _ in page.tags}
    assert not re.search(r"https?:|url\(\s*['\"]?[^#'\"]|@import|javascript:", html)
    assert all(not name.startswith("on") for _, attributes in page.attributes for name in attributes)
    for reference in page.references:
        assert reference.startswith(("#", "data:image/png;base64,")), reference[:80]


def test_the_policy_allows_the_style_and_inner_pictures_alone(made: tuple[str, Page]) -> None:
    html, page = made
    policy = meta(page, "http-equiv", "Content-Security-Policy")
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    styles = re.findall(r"<style>(.*?)</style>", html, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(styles[0].encode()).digest()).decode()
    assert rules["style-src"] == f"'sha256-{digest}'"
    assert len(styles) == 1
    # The policy refuses them.
    assert not any("style" in attributes for _, attributes in page.attributes)


def test_what_a_link_shows(made: tuple[str, Page]) -> None:
    _, page = made
    title = next(words.strip() for words in page.words if words.strip())
    assert meta(page, "property", "og:title") == title
    assert meta(page, "property", "og:type") == "website"
    assert len(meta(page, "property", "og:description")) > 20


def test_a_template_may_replace_what_a_link_shows() -> None:
    environment = Environment(loader=PackageLoader("robustlab.report"), autoescape=True)
    template = '{% extends "base.html.j2" %}{% block social %}{{ super() }}<meta name="more">{% endblock %}'
    page = environment.from_string(template).render(r={"title": "A study"}, policy="", style="")
    assert '<meta property="og:title" content="A study">' in page
    assert '<meta name="more">' in page
