"""What a batch may be called, and which files are one: the same for the inbox and every source."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from secure_ml.errors import MalformedError, UnavailableError
from secure_ml.safe_files import read_file

__all__ = [
    "BATCH_NAME",
    "MANIFEST_FILE",
    "MAX_MANIFEST_BYTES",
    "SUFFIXES",
    "batches_in",
    "file_names",
    "missing",
    "only",
    "read_manifest",
]

BATCH_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
MANIFEST_FILE = "manifest.dsse.json"
"""The signed manifest of a folder, store or repository, beside what it lists."""
MAX_MANIFEST_BYTES = 16 << 20
SUFFIXES = (".csv", ".parquet", ".arrow", ".jsonl")
"""How the name of a batch's file ends; its content alone says what it is."""
_MAX_NAMES = 100_000


def batches_in(paths: Iterable[str], where: str) -> dict[str, list[str]]:
    """Return batch name to path, sorted by name; a file whose name is not one of a batch is left alone.

    `january.csv` is batch `january`, `2024/january.parquet` is batch `2024.january`. Where several files are named like
    one batch it has several paths, and `only` refuses that batch.

    Raises:
        MalformedError: There are too many.
    """
    found: dict[str, list[str]] = {}
    for path in paths:
        suffix = next((suffix for suffix in SUFFIXES if path.endswith(suffix)), None)
        name = path.removesuffix(suffix or "").replace("/", ".")
        if suffix is None or not BATCH_NAME.fullmatch(name):
            continue
        found.setdefault(name, []).append(path)
        if len(found) > _MAX_NAMES:
            raise MalformedError(f"{where}: more than {_MAX_NAMES} batches; name a smaller part of it")
    return dict(sorted(found.items()))


def only(paths: Sequence[str], name: str, where: str) -> str:
    """Return the one path of a batch.

    Raises:
        UnavailableError: There is none.
        MalformedError: There are several.
    """
    if not paths:
        raise missing(name, where)
    if len(paths) > 1:
        raise MalformedError(f"{where}: {len(paths)} files are batch {name}; remove all but one")
    return paths[0]


def file_names(name: str) -> list[str]:
    """Return what the file of a batch may be called."""
    return [f"{name}{suffix}" for suffix in SUFFIXES]


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
