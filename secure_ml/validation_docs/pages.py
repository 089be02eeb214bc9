"""HTML pages from Jinja2 templates. Every value is escaped, and a page loads nothing and runs nothing.

Names come from untrusted files. Four rules keep them harmless:

1. Autoescape is on for every template, and no template marks a value as safe.
2. A character that is not printable is shown as its code point, and a long value is cut.
3. An undefined variable is an error, so a misspelled name cannot hide a finding.
4. Each page carries a Content-Security-Policy that forbids scripts, images and requests.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

__all__ = ["VERDICT_TEXTS", "printable", "render_page", "template_environment"]

VERDICT_TEXTS: Final = {"passed": "✓ passed", "warned": "! passed with warnings", "blocked": "✕ blocked"}
"""The text of each verdict. A sign and a word accompany the colour."""

_TEMPLATES: Final = Path(__file__).parent / "templates"
_MAX_CHARACTERS: Final = 300


def render_page(template: str, folder: Path = _TEMPLATES, /, **values: Any) -> bytes:
    """Render a whole page.

    Args:
        template: File name of the template.
        folder: The folder of the template. It may extend and import the templates of this package.
        values: Variables of the template.
    """
    return template_environment(folder).get_template(template).render(values).encode()


@cache
def template_environment(folder: Path = _TEMPLATES) -> Environment:
    """Return the environment in which the templates of a folder are rendered."""
    environment = Environment(
        loader=FileSystemLoader([folder, _TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.globals = {"verdict_texts": VERDICT_TEXTS}
    return environment


def printable(text: str) -> str:
    """Return a text with unprintable characters as code points, cut to 300 characters."""
    shown = text if len(text) <= _MAX_CHARACTERS else f"{text[:_MAX_CHARACTERS]}…"
    return "".join(character if character.isprintable() else _code_point(character) for character in shown)


def _finalize(value: object) -> str:
    """Make a value printable before it is escaped. The output of our own macros is escaped already."""
    return value if isinstance(value, Markup) else printable(str(value))


def _code_point(character: str) -> str:
    number = ord(character)
    return f"\\u{number:04x}" if number < 1 << 16 else f"\\U{number:08x}"
