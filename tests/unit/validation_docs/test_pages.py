"""Templates of all pages: every value is escaped and printable, and an undefined variable is an error."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from secure_ml.validation_docs.pages import printable, render_page, template_environment
from tests.pages import HOSTILE, Page

ROOT = Path(__file__).parents[3]
TEMPLATES = sorted(
    path for folder in ("secure_ml", "assets") for path in (ROOT / folder).rglob("templates/*") if path.is_file()
)


def write_template(folder: Path, body: str) -> None:
    (folder / "page.html").write_text(
        f'{{% extends "base.html" %}}{{% block title %}}t{{% endblock %}}{{% block body %}}{body}{{% endblock %}}'
    )


@pytest.mark.parametrize(
    "body", ["{{ missing }}", "{% if missing %}{% endif %}", "{{ row.missing }}", "{{ range(3) }}"]
)
def test_an_undefined_variable_is_an_error(body: str, tmp_path: Path) -> None:
    write_template(tmp_path, body)
    with pytest.raises(UndefinedError):
        render_page("page.html", tmp_path, row={"name": "x"})


@pytest.mark.parametrize("text", HOSTILE)
def test_values_stay_text_in_elements_attributes_and_macros(text: str, tmp_path: Path) -> None:
    write_template(
        tmp_path,
        '{% macro cell(value) %}<td title="{{ value }}">{{ value }}</td>{% endmacro %}'
        '<p title="{{ text }}">{{ text }}</p>{{ cell(text) }}{{ cell("a " ~ text) }}',
    )
    page = Page(render_page("page.html", tmp_path, text=text))
    assert page.tags[-3:] == ["p", "td", "td"]
    shown = printable(text)
    assert f"{shown}\n{shown}\na {shown}\n" in page.text
    titles = [value for name, value in page.attributes if name == "title"]
    assert titles == [shown, shown, f"a {shown}"]


def test_an_unprintable_character_is_shown_as_its_code_point() -> None:
    assert printable("a\u202eb\x00\U000e0001") == "a\\u202eb\\u0000\\U000e0001"


def test_a_long_value_is_cut() -> None:
    assert printable("x" * 301) == "x" * 300 + "…"
    assert printable("x" * 300) == "x" * 300


def test_each_page_holds_the_style_sheet_and_its_policy(tmp_path: Path) -> None:
    write_template(tmp_path, "<p>text</p>")
    page = render_page("page.html", tmp_path).decode()
    assert (ROOT / "secure_ml" / "validation_docs" / "templates" / "page.css").read_text().strip() in page
    policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    assert f'<meta http-equiv="Content-Security-Policy" content="{policy}">' in page


def test_no_template_turns_escaping_off_or_leaves_an_attribute_unquoted() -> None:
    assert len(TEMPLATES) >= 6
    for path in TEMPLATES:
        text = path.read_text()
        assert not re.search(r"\bsafe\b|autoescape|Markup|<script|\bon[a-z]+=", text), path.name
        assert not re.search(r"=\s*\{[{%]", text), f"{path.name}: an attribute without quotes"
        assert not re.search(r"<style[^>]*>[^<]*\{\{", text), f"{path.name}: a value inside a style element"


def test_every_template_compiles() -> None:
    for folder in {path.parent for path in TEMPLATES}:
        for path in folder.glob("*.html"):
            template_environment(folder).get_template(path.name)
