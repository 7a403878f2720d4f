"""What the tests of reports look at in a page."""

from html.parser import HTMLParser
from pathlib import Path

from robustlab.report import write_report

VOID = {"meta", "img", "br", "link", "input", "hr", "source"}


class Page(HTMLParser):
    """A page's references, its tags in order, its text; that every tag is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.references: list[str] = []
        self.tags: list[tuple[str, str]] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append((tag, values.get("class") or ""))
        self.attributes.append((tag, values))
        self.references += [
            values[name] or "" for name in ("src", "href", "xlink:href", "srcset") if name in values
        ]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self._open or self._open[-1] not in {"style", "script"}:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def read(folder: Path) -> tuple[str, Page]:
    html = write_report(folder).read_text(encoding="utf-8")
    return html, Page(html)


def files(folder: Path) -> dict[str, bytes]:
    made = [folder / "report.html", folder / "report.md", *(folder / "figures").iterdir()]
    return {path.name: path.read_bytes() for path in made}
