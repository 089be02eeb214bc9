"""What a batch may be called, and which files are one: the same for the inbox and every source."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from secure_ml.errors import MalformedError, UnavailableError
from secure_ml.home import read_file

__all__ = ["BATCH_NAME", "MANIFEST_FILE", "MAX_MANIFEST_BYTES", "SUFFIX", "batches_in", "missing", "read_manifest"]

BATCH_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
MANIFEST_FILE = "manifest.dsse.json"
"""The signed manifest of a folder, store or repository, beside what it lists."""
MAX_MANIFEST_BYTES = 16 << 20
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


def read_manifest(path: Path) -> bytes | None:
    """Read a signed manifest from a file, None where there is none.

    Raises:
        UnavailableError: It is there and cannot be read.
        MalformedError: Not a regular file, or too large.
    """
    return read_file(path, max_bytes=MAX_MANIFEST_BYTES) if path.is_symlink() or path.exists() else None
