"""Hash of a report's content, without times, durations, machine and paths."""

import hashlib
from html.parser import HTMLParser
from pathlib import Path

VOID_TAGS = frozenset(
    ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"]
)
"""HTML elements without an end tag."""


class _Steady(HTMLParser):
    """Collects tags, attributes and text outside elements of class `volatile`."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.inside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]):
        volatile = "volatile" in (dict(attrs).get("class") or "").split()
        if not self.inside and not volatile:
            self.parts.append(f"<{tag} {sorted((k, v or '') for k, v in attrs)}>")
        if (self.inside or volatile) and tag not in VOID_TAGS:
            self.inside.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]):
        volatile = "volatile" in (dict(attrs).get("class") or "").split()
        if not self.inside and not volatile:
            self.parts.append(f"<{tag} {sorted((k, v or '') for k, v in attrs)}/>")

    def handle_endtag(self, tag: str):
        if not self.inside:
            self.parts.append(f"</{tag}>")
        elif tag in self.inside:
            while self.inside.pop() != tag:
                pass

    def handle_data(self, data: str):
        words = " ".join(data.split())
        if words and not self.inside:
            self.parts.append(words)


def steady_parts(page: str) -> list[str]:
    """The page's tags and texts in order, without elements of class `volatile`."""
    parser = _Steady()
    parser.feed(page)
    parser.close()
    return parser.parts


def content_hash(path: Path) -> str:
    """SHA-256 of a report without its volatile elements (times, durations, machine, dates, paths)."""
    return hashlib.sha256("\n".join(steady_parts(Path(path).read_text(encoding="utf-8"))).encode()).hexdigest()
