"""Batches in a local folder: each `NAME.csv`, `.parquet`, `.arrow` or `.jsonl` is one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from secure_ml.datasets.sources.names import BATCH_NAME, MANIFEST_FILE, batches_in, file_names, only, read_manifest
from secure_ml.errors import UnavailableError
from secure_ml.safe_files import read_file

__all__ = ["LocalFolder"]


@dataclass(frozen=True, slots=True)
class LocalFolder:
    """A flat folder of batches, and `manifest.dsse.json` beside them.

    Attributes:
        path: The folder.
        require_manifest: Quarantine each batch whose digest is not in the folder's signed manifest.
    """

    path: Path
    require_manifest: bool = True

    def names(self) -> list[str]:
        """Return the batches that are there.

        Raises:
            UnavailableError: No such folder.
            MalformedError: Too many batches.
        """
        try:
            paths = [entry.name for entry in self.path.iterdir()]
        except OSError as error:
            raise UnavailableError(f"folder {self.path}: cannot be listed ({error.strerror})") from None
        return list(batches_in(paths, self.location()))

    def fetch(self, name: str, *, max_bytes: int) -> bytes:
        """Read one batch, once.

        Raises:
            UnavailableError: No such batch, or it cannot be read.
            MalformedError: Not a regular file, larger than `max_bytes`, or two files are this batch.
        """
        return read_file(self.path / only(self.files(name), name, self.location()), max_bytes=max_bytes)

    def fetch_manifest(self) -> bytes | None:
        """Read the signed manifest, None where there is none.

        Raises:
            UnavailableError: It is there and cannot be read.
            MalformedError: Not a regular file, or too large.
        """
        return read_manifest(self.path / MANIFEST_FILE)

    def location(self, name: str | None = None) -> str:
        """Return where a batch lies, for people."""
        found = self.files(name) if name is not None else []
        return str(self.path / found[0] if found else self.path)

    def files(self, name: str) -> list[str]:
        """Return the files that are named like a batch: one, where all is well."""
        if not BATCH_NAME.fullmatch(name):
            return []
        return [file for file in file_names(name) if os.path.lexists(self.path / file)]
