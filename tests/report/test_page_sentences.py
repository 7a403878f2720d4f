"""The sentences of the pages, as readers see them, in one file: tests/report/page_sentences.json.

Other tests assert figures and structure. After a sentence was changed on purpose, ``python
tests/report/test_page_sentences.py`` writes the file; its difference is what a reviewer reads.
"""

import json
import re
import tempfile
from html import unescape
from pathlib import Path

import sample_evaluations as evaluations
import sample_results as studies
from test_finding import results as with_findings

from robustlab.report import write_report

GOLDEN = Path(__file__).parent / "page_sentences.json"
_LEAST_WORDS = 4


def sentences(html: str) -> list[str]:
    """Return the texts of a page's paragraphs, cells and headings that have a few words, each once."""
    html = re.sub(r"<(style|svg)\b.*?</\1>", "", html, flags=re.DOTALL)
    inline = r"(?!/?(?:b|i|em|a|code|span|wbr)\b)"
    lines = unescape(re.sub(r"<[^>]+>", " ", re.sub(rf"<{inline}[^>]+>", "\n", html))).splitlines()
    texts = [" ".join(line.split()) for line in lines]
    return list(
        dict.fromkeys(text for text in texts if len(re.findall(r"[^\W\d]{2,}", text)) >= _LEAST_WORDS)
    )


def pages() -> dict[str, list[str]]:
    with tempfile.TemporaryDirectory() as folder:
        made = {
            "study": studies.write_run(Path(folder) / "study", with_findings()),
            "quick study on other data": studies.write_run(
                Path(folder) / "quick",
                studies.full_results(),
                quick=True,
                dataset=studies.full_results()["dataset"] | {"fallback": "MNIST is not there."},
            ),
        }
        for name in ("evaluation", "flagged", "bare", "no_attack"):
            made[name.replace("_", " ")] = evaluations.write_evaluation(
                Path(folder) / name, getattr(evaluations, name)()
            )
        return {name: sentences(write_report(run).read_text(encoding="utf-8")) for name, run in made.items()}


def written() -> str:
    return json.dumps(pages(), indent=1, ensure_ascii=False) + "\n"


def test_sentences_are_the_reviewed_ones() -> None:
    assert pages() == json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_sentences_are_short() -> None:
    found = {text for texts in pages().values() for text in texts}
    parts = [part for text in found for part in re.split(r"(?<=[.!?])\s+(?=[A-Z])", text)]
    lengths = [len(part.split()) for part in parts]
    assert sum(lengths) / len(lengths) <= 25
    longest = max(parts, key=lambda part: len(part.split()))
    assert len(longest.split()) <= 60, longest


if __name__ == "__main__":
    GOLDEN.write_text(written(), encoding="utf-8")
