"""Links, file names and imports in the README, the changelog and the docs."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_to_existing_pages_and_headings(page: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        name, _, anchor = link.partition("#")
        target = (page.parent / name) if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_files_that_a_page_names_exist(page: Path) -> None:
    for name in re.findall(r"(?<![\w./])(?:secure_ml|assets|sensors|resources|tests)/[\w./]*\w", page.read_text()):
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_imports_and_modules_that_a_page_shows_exist(page: Path) -> None:
    text = page.read_text()
    for block in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL):
        for line in re.findall(r"^from (?:secure_ml|tests)\S* import .*$", block, flags=re.MULTILINE):
            (node,) = ast.parse(line).body
            assert isinstance(node, ast.ImportFrom)
            module = importlib.import_module(str(node.module))
            assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []
    for name in re.findall(r"`((?:secure_ml|tests)(?:\.\w+)+)`|python -m (tests(?:\.\w+)+)", text):
        module_name, attribute = next(filter(None, name)), None
        if not module_exists(module_name):
            module_name, _, attribute = module_name.rpartition(".")
        assert hasattr(importlib.import_module(module_name), attribute or "__doc__"), name


def module_exists(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return path.with_suffix(".py").exists() or path.is_dir()


def test_every_page_is_linked_from_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    for page in sorted((ROOT / "docs").glob("*.md")):
        assert f"(docs/{page.name})" in text, page.name


def literals() -> str:
    """Text of all string literals of the package, with a placeholder for each interpolated value."""
    texts = []
    for path in sorted((ROOT / "secure_ml").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                texts.append(
                    "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return "\n".join(texts)


def test_messages_that_the_docs_quote_are_in_the_code() -> None:
    table = (ROOT / "docs/sources.md").read_text().split("## Messages about manifests")[1].split("\n\n")[1]
    messages = re.findall(r"\| `(.*)` \|$", table, flags=re.MULTILINE)
    assert len(messages) == 8
    code = literals()
    for message in messages:
        # Names, stages and times are interpolated, and a prefix names the batch.
        parts = re.split(r"\.\.\.|branch\.january: |\bbranch\b|FOLDER|\bsource_manifest\b|\d{4}-\S+", message)
        for part in parts:
            assert part.strip(" ,;") in code, part
