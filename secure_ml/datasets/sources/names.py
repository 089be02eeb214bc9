"""What a batch may be called, and which files are one: the same for the inbox and every source."""

from __future__ import annotations

import re
from collections.abc import Iterable

from secure_ml.errors import MalformedError, UnavailableError

__all__ = ["BATCH_NAME", "MANIFEST_FILE", "SUFFIX", "batches_in", "missing"]

BATCH_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
MANIFEST_FILE = "manifest.dsse.json"
"""The signed manifest of a folder, store or repository, beside what it lists."""
SUFFIX = ".csv"
_MAX_NAMES = 100_000


def batches_in(paths: Iterable[str], where: str) -> dict[str, str]:
    """Return batch name to path, sorted by name; a file whose name is not one of a batch is left alone.

    `january.csv` is batch `january`, `2024/january.csv` is batch `2024.january`.

    Raises:
        MalformedError: Two files make the same batch name, or there are too many.
    """
    found: dict[str, str] = {}
    for path in paths:
        name = path.removesuffix(SUFFIX).replace("/", ".")
        if not path.endswith(SUFFIX) or not BATCH_NAME.fullmatch(name):
            continue
        if name in found:
            raise MalformedError(f"{where}: two files are batch {name}; rename one")
        if len(found) == _MAX_NAMES:
            raise MalformedError(f"{where}: more than {_MAX_NAMES} batches; name a smaller part of it")
        found[name] = path
    return dict(sorted(found.items()))


def missing(name: str, where: str) -> UnavailableError:
    """Return the error of a batch that a source does not have."""
    return UnavailableError(f"{name}: no such batch in {where}")
