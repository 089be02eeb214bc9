"""Write the validation docs: an index, one page for each validation, and a JSON file beside each page.

The pages are derived from signed evidence and can be written again at any time. A page is replaced by rename. A page
whose content did not change is not written.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from secure_ml.digests import canonical_json
from secure_ml.errors import PreconditionError, SecureMLError, UnavailableError
from secure_ml.evidence import Evidence
from secure_ml.home import Home
from secure_ml.installation import Installation
from secure_ml.safe_files import replace_file
from secure_ml.signing.trust import Trust
from secure_ml.validation_docs.index_page import render_index
from secure_ml.validation_docs.state import NamedHome, Validation, ValidationState, load_profile, load_state
from secure_ml.validation_docs.validation_page import render_validation

__all__ = ["OWN_HOME", "docs_folder", "page_of", "render_own_doc", "write_docs", "write_own_docs"]

OWN_HOME = "home"
"""Name of an installation's home on its own pages."""

_HOME_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_PAGE_NAME = re.compile(r"[0-9a-f]{64}\.(html|json)")


def docs_folder(installation: Installation) -> Path:
    """Return the folder of an installation's own pages."""
    return installation.home.reports / "validation"


def page_of(evidence: Evidence) -> str:
    """Return the path of a validation's page, relative to the folder of an installation's own pages."""
    return f"{OWN_HOME}/{evidence.model}/{evidence.cause}.html"


def write_own_docs(installation: Installation, *, batch: str | None = None) -> ValidationState:
    """Write the pages of this installation's home; see `write_docs`.

    Raises:
        UnavailableError: If the pages cannot be written.
    """
    _make_folder(installation.home.reports)
    homes = [NamedHome(OWN_HOME, installation.home)]
    return write_docs(homes, installation.trust, docs_folder(installation), batch=batch)


def write_docs(homes: Sequence[NamedHome], trust: Trust, folder: Path, *, batch: str | None = None) -> ValidationState:
    """Write the index and the pages of all validations to `folder`, and remove pages of validations that are gone.

    Args:
        homes: The homes to show. Each needs a name of its own.
        trust: The trust root that verifies the evidence of all homes.
        folder: The target folder. It is made if it does not exist.
        batch: Write only the index and the pages of this batch. A validation changes no other page.

    Returns:
        The state that the pages show.

    Raises:
        PreconditionError: If the name of a home is invalid or occurs twice.
        UnavailableError: If the pages cannot be written.
    """
    _require_names([home.name for home in homes])
    state = load_state(homes, trust)
    by_name = {home.name: home.home for home in homes}
    written: set[Path] = set()
    try:
        _make_folder(folder)
        for item in state.validations:
            if batch in (None, item.batch):
                written |= _write_pages(folder / item.page, *_render(state, by_name[item.home], item))
        for name in by_name if batch is None else []:
            _remove_other_pages(folder / name, written)
        index, document = render_index(state)
        replace_file(folder / "index.html", index)
        replace_file(folder / "index.json", canonical_json(document))
    except OSError as error:
        raise UnavailableError(f"validation docs: {folder} cannot be written ({error.strerror})") from None
    return state


def render_own_doc(installation: Installation, path: str) -> bytes | None:
    """Render one page of this installation's home from the signed evidence, without reading the written pages.

    Args:
        installation: Home and trust root.
        path: Relative to the folder of the pages, such as `index.html`.

    Returns:
        The page, or None if there is no such page.
    """
    name, _, suffix = path.rpartition(".")
    if suffix not in ("html", "json"):
        return None
    state = load_state([NamedHome(OWN_HOME, installation.home)], installation.trust)
    item = next((item for item in state.validations if item.page == name), None)
    if item is None and name != "index":
        return None
    page, document = render_index(state) if item is None else _render(state, installation.home, item)
    return page if suffix == "html" else canonical_json(document)


def _require_names(names: Sequence[str]) -> None:
    if len(set(names)) != len(names) or not all(_HOME_NAME.fullmatch(name) for name in names):
        raise PreconditionError(
            "--home: expected NAME=PATH, each name once, of at most 63 letters, digits, '_', '.', '-'"
        )


def _render(state: ValidationState, home: Home, item: Validation) -> tuple[bytes, dict[str, Any]]:
    profile, problem = None, ""
    try:
        profile = load_profile(home, item.evidence)
    except SecureMLError as error:
        problem = str(error)
    return render_validation(state, item, profile, problem)


def _write_pages(path: Path, page: bytes, document: dict[str, Any]) -> set[Path]:
    _make_folder(path.parent.parent)
    _make_folder(path.parent)
    return {
        replace_file(path.with_name(f"{path.name}.html"), page),
        replace_file(path.with_name(f"{path.name}.json"), canonical_json(document)),
    }


def _make_folder(path: Path) -> None:
    """Make a folder, and refuse a link, which may lead outside the home.

    Raises:
        UnavailableError: If the path is a link.
    """
    if path.is_symlink():
        raise UnavailableError(f"validation docs: {path} is a link, expected a folder; remove it")
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


def _remove_other_pages(folder: Path, written: set[Path]) -> None:
    """Remove pages of validations that are no longer on record. Other files, and files behind a link, are kept."""
    for path in folder.glob("*/*"):
        linked = folder.is_symlink() or path.parent.is_symlink()
        if _PAGE_NAME.fullmatch(path.name) and path not in written and not linked:
            path.unlink(missing_ok=True)
