"""Validation docs: one static page a validated version, and an index over models, policies and homes; JSON beside each.

The pages are derived from signed evidence and rebuilt at will. They need no network, load nothing and run nothing.
They are for people: no gate reads them. A page is replaced by rename, and left alone where nothing changed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from secure_ml.digests import canonical_json
from secure_ml.errors import PreconditionError, SecureMLError, UnavailableError
from secure_ml.gates import Evidence
from secure_ml.home import write_derived
from secure_ml.installation import Installation
from secure_ml.monitoring.validation_index import render_index
from secure_ml.monitoring.validation_page import render_validation
from secure_ml.monitoring.validation_state import Place, State, gather, profile_of
from secure_ml.signing.keys import Trust

__all__ = ["OWN", "docs_folder", "page_of", "write_docs", "write_own_docs"]

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


def write_own_docs(installation: Installation) -> State:
    """Make the pages of this installation's own home.

    Raises:
        UnavailableError: They cannot be written.
    """
    return write_docs([Place(OWN, installation.home)], installation.trust, docs_folder(installation))


def write_docs(places: Sequence[Place], trust: Trust, folder: Path) -> State:
    """Make `index.html`, `index.json` and the pages of all validations in `folder`; pages of what is gone go too.

    Args:
        places: The homes to show, each with a name of its own.
        trust: The trust root that all their evidence is held against.
        folder: Where to; made where it is not there.

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
    try:
        kept: set[Path] = set()
        for item in state.validations:
            drawn, said = None, ""
            try:
                drawn = profile_of(homes[item.place], item.evidence)
            except SecureMLError as error:
                said = str(error)
            target = folder / item.address
            page, document = render_validation(state, item, drawn, said)
            for suffix, content in ((".html", page), (".json", canonical_json(document))):
                kept.add(write_derived(target.with_name(target.name + suffix), content))
        for place in names:
            _remove_others(folder / place, kept)
        page, document = render_index(state)
        write_derived(folder / "index.html", page)
        write_derived(folder / "index.json", canonical_json(document))
    except OSError as error:
        raise UnavailableError(f"validation docs: {folder} cannot be written ({error.strerror})") from None
    return state


def _remove_others(folder: Path, kept: set[Path]) -> None:
    """Remove pages of validations that are not on record any more, and nothing else."""
    for path in folder.glob("*/*"):
        if _PAGE.fullmatch(path.name) and path not in kept:
            path.unlink(missing_ok=True)
