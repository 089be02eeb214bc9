"""Names of batches and of their files, with one rule for the inbox and every source."""

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
"""Name of the signed manifest, beside the files that it lists."""
MAX_MANIFEST_BYTES = 16 << 20
SUFFIXES = (".csv", ".parquet", ".arrow", ".jsonl")
"""Suffixes of batch files. The content alone decides the format."""
_MAX_NAMES = 100_000


def batches_in(paths: Iterable[str], where: str) -> dict[str, list[str]]:
    """Return the paths of each batch by its name, sorted by name. A file without a batch name is ignored.

    `january.csv` is batch `january`, and `2024/january.parquet` is batch `2024.january`. If several files have the
    name of
    one batch, it has several paths, and `only` rejects that batch.

    Raises:
        MalformedError: If there are too many batches.
    """
    batches: dict[str, list[str]] = {}
    for path in paths:
        suffix = next((suffix for suffix in SUFFIXES if path.endswith(suffix)), None)
        name = path.removesuffix(suffix or "").replace("/", ".")
        if suffix is None or not BATCH_NAME.fullmatch(name):
            continue
        batches.setdefault(name, []).append(path)
        if len(batches) > _MAX_NAMES:
            raise MalformedError(f"{where}: more than {_MAX_NAMES} batches; name a smaller part of it")
    return dict(sorted(batches.items()))


def only(paths: Sequence[str], name: str, where: str) -> str:
    """Return the one path of a batch.

    Raises:
        UnavailableError: If the batch has no path.
        MalformedError: If the batch has several paths.
    """
    if not paths:
        raise missing(name, where)
    if len(paths) > 1:
        raise MalformedError(f"{where}: {len(paths)} files are batch {name}; remove all but one")
    return paths[0]


def file_names(name: str) -> list[str]:
    """Return the possible file names of a batch."""
    return [f"{name}{suffix}" for suffix in SUFFIXES]


def missing(name: str, where: str) -> UnavailableError:
    """Return the error of a batch that a source does not have."""
    return UnavailableError(f"{name}: no such batch in {where}")


def read_manifest(path: Path) -> bytes | None:
    """Read a signed manifest from a file, or return None if there is no file.

    Raises:
        UnavailableError: If the file cannot be read.
        MalformedError: If it is not a regular file or too large.
    """
    return read_file(path, max_bytes=MAX_MANIFEST_BYTES) if path.is_symlink() or path.exists() else None
