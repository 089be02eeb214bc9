"""Helpers of the tests of pages: a parser that rejects harmful pages, and hostile names."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

from secure_ml.digests import digest_of
from secure_ml.evidence import Evidence, EvidenceLog
from secure_ml.installation import Installation

HOSTILE = (
    "<script>document.title='owned'</script>",
    '"><img src=x onerror="document.title=1">',
    "'><svg/onload=document.title=2>",
    "</title></style></script><iframe src=//evil.example>",
    "javascript:alert(1)",
    "&lt;b&gt;",
    "\x1b[2Jbell\x07",
    "\u202egnp.exe",
    "{{7*7}}${7*7}",
)
ALLOWED = {
    *("html", "head", "meta", "title", "style", "body", "main", "nav", "a", "h1", "h2", "h3", "div", "span", "p"),
    *("article", "footer", "dl", "dt", "dd", "code", "table", "thead", "tbody", "tr", "th", "td", "details", "summary"),
    *("section", "svg", "g", "rect", "line", "text"),
}


class Page(HTMLParser):
    """Every element, attribute and visible text of a page."""

    def __init__(self, content: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self._inside: list[str] = []
        self.feed(content.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag != "meta":
            self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._inside.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        if "style" not in self._inside:
            self.text += f"{data}\n"


def require_harmless(content: bytes, root: Path, at: Path) -> Page:
    """Parse an inert page whose links lead to existing pages under `root`."""
    page = require_inert(content)
    for name, value in page.attributes:
        if name == "href":
            assert (at.parent / value).resolve().is_relative_to(root), value
            assert (at.parent / value).exists(), value
    return page


def require_inert(content: bytes) -> Page:
    """Parse a page that may hold known elements only, and may load and run nothing."""
    page = Page(content)
    assert set(page.tags) <= ALLOWED
    for name, _ in page.attributes:
        assert not name.startswith("on"), name
        assert name not in ("src", "style", "action", "srcdoc", "xlink:href")
    assert "url(" not in content.decode()
    assert "@import" not in content.decode()
    assert b"default-src 'none'" in content
    return page


def hostile_evidence(installation: Installation, text: str, decision: str = "rejected") -> Evidence:
    finding = {
        "column": text,
        "rule": text,
        "failed": 3,
        "rows": 9,
        "tier": "block",
        "sentence": f"{text}: 3 of 9 rows",
        "code": text,
        "by": "pandera",
    }
    return EvidenceLog.open(installation, "guarded").append(
        installation.signer(),
        stage="validated_dataset",
        cause=digest_of({"text": text, "decision": decision}),
        reasons=[f"{text}: 3 of 9 rows"] if decision == "rejected" else [],
        subjects={},
        inputs={"batch": text, "version": text, "contract": text, "policy": "production"},
        facts={"rows": 9, "findings": [finding]},
    )
