"""Validation docs: one static page a validated version, and an index over models, policies and homes; JSON beside each.

The pages are derived from signed evidence and rebuilt at will. They need no network, load nothing and run nothing.
They are for people: no gate reads them. A page is replaced by rename, and left alone where nothing changed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from secure_ml.digests import canonical_json
from secure_ml.errors import PreconditionError, SecureMLError, UnavailableError
from secure_ml.evidence import Evidence
from secure_ml.home import Home, write_derived
from secure_ml.installation import Installation
from secure_ml.signing.keys import Trust
from secure_ml.validation_docs.index_page import render_index
from secure_ml.validation_docs.state import Place, State, Validation, gather, profile_of
from secure_ml.validation_docs.validation_page import render_validation

__all__ = ["OWN", "docs_folder", "page_of", "render_own_doc", "write_docs", "write_own_docs"]

OWN = "home"
"""What an installation calls its own home on its own pages."""

_PLACE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_PAGE = re.compile(r"[0-9a-f]{64}\.(html|json)")


def docs_folder(installation: Installation) -> Path:
    """Return where an installation keeps its own pages."""
    return installation.home.reports / "validation"


def page_of(evidence: Evidence) -> str:
    """Return the page of a validation, from the folder of an installation's own pages."""
    return f"{OWN}/{evidence.model}/{evidence.cause}.html"


def write_own_docs(installation: Installation, *, batch: str | None = None) -> State:
    """Make the pages of this installation's own home; see `write_docs`.

    Raises:
        UnavailableError: They cannot be written.
    """
    _require_folder(installation.home.reports)
    return write_docs([Place(OWN, installation.home)], installation.trust, docs_folder(installation), batch=batch)


def write_docs(places: Sequence[Place], trust: Trust, folder: Path, *, batch: str | None = None) -> State:
    """Make `index.html`, `index.json` and the pages of all validations in `folder`; pages of what is gone go too.

    Args:
        places: The homes to show, each with a name of its own.
        trust: The trust root that all their evidence is held against.
        folder: Where to; made where it is not there.
        batch: Make the index and the pages of this batch only: a validation changes no other page.

    Returns:
        What was shown.

    Raises:
        PreconditionError: A home's name is not one, or occurs twice.
        UnavailableError: The pages cannot be written.
    """
    names = [place.name for place in places]
    if len(set(names)) != len(names) or not all(_PLACE_NAME.fullmatch(name) for name in names):
        raise PreconditionError(
            "--home: expected NAME=PATH, each name once, of at most 63 letters, digits, '_', '.', '-'"
        )
    state = gather(places, trust)
    homes = {place.name: place.home for place in places}
    kept: set[Path] = set()
    try:
        _require_folder(folder)
        index, document = render_index(state)
        pages = {folder / "index.html": index, folder / "index.json": canonical_json(document)}
        for item in state.validations:
            if batch not in (None, item.batch):
                continue
            page, document = _render(state, homes[item.place], item)
            target = folder / item.address
            _require_folder(target.parent.parent)
            _require_folder(target.parent)
            for suffix, content in ((".html", page), (".json", canonical_json(document))):
                kept.add(write_derived(target.with_name(target.name + suffix), content))
        for place in names if batch is None else []:
            _remove_others(folder / place, kept)
        for path, content in pages.items():
            write_derived(path, content)
    except OSError as error:
        raise UnavailableError(f"validation docs: {folder} cannot be written ({error.strerror})") from None
    return state


def render_own_doc(installation: Installation, path: str) -> bytes | None:
    """Render one page of this installation's own home from what is signed now; None where there is no such page.

    Args:
        installation: Home and trust root.
        path: From the folder of the pages, such as `index.html`.
    """
    state = gather([Place(OWN, installation.home)], installation.trust)
    name, _, suffix = path.rpartition(".")
    if suffix not in ("html", "json"):
        return None
    item = next((item for item in state.validations if item.address == name), None)
    if item is None and name != "index":
        return None
    page, document = render_index(state) if item is None else _render(state, installation.home, item)
    return page if suffix == "html" else canonical_json(document)


def _render(state: State, home: Home, item: Validation) -> tuple[bytes, dict[str, Any]]:
    profile, said = None, ""
    try:
        profile = profile_of(home, item.evidence)
    except SecureMLError as error:
        said = str(error)
    return render_validation(state, item, profile, said)


def _require_folder(path: Path) -> None:
    """Make a folder; a link is refused, since what it leads to is not ours to write.

    Raises:
        UnavailableError: It is a link.
    """
    if path.is_symlink():
        raise UnavailableError(f"validation docs: {path} is a link, expected a folder; remove it")
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


def _remove_others(folder: Path, kept: set[Path]) -> None:
    """Remove pages of validations that are not on record any more, and nothing else, and nothing behind a link."""
    for path in folder.glob("*/*"):
        linked = folder.is_symlink() or path.parent.is_symlink()
        if _PAGE.fullmatch(path.name) and path not in kept and not linked:
            path.unlink(missing_ok=True)
