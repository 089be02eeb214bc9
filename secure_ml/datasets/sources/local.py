"""A local folder as a source: each `NAME.csv`, `.parquet`, `.arrow` or `.jsonl` is a batch."""

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
    """A flat folder of batches with `manifest.dsse.json` beside them.

    Attributes:
        path: Path of the folder.
        require_manifest: Quarantine each batch whose digest is not in the folder's signed manifest.
    """

    path: Path
    require_manifest: bool = True

    def names(self) -> list[str]:
        """Return the names of the batches.

        Raises:
            UnavailableError: If the folder cannot be listed.
            MalformedError: If there are too many batches.
        """
        try:
            paths = [entry.name for entry in self.path.iterdir()]
        except OSError as error:
            raise UnavailableError(f"folder {self.path}: cannot be listed ({error.strerror})") from None
        return list(batches_in(paths, self.location()))

    def fetch(self, name: str, *, max_bytes: int) -> bytes:
        """Read one batch, once.

        Raises:
            UnavailableError: If the batch is missing or cannot be read.
            MalformedError: If it is not one regular file, or larger than `max_bytes`.
        """
        return read_file(self.path / only(self.files(name), name, self.location()), max_bytes=max_bytes)

    def fetch_manifest(self) -> bytes | None:
        """Read the signed manifest, or return None if the source has none.

        Raises:
            UnavailableError: If it cannot be read.
            MalformedError: If it is not a regular file or too large.
        """
        return read_manifest(self.path / MANIFEST_FILE)

    def location(self, name: str | None = None) -> str:
        """Describe the location of a batch, or of the folder, for people."""
        files = self.files(name) if name is not None else []
        return str(self.path / files[0] if files else self.path)

    def files(self, name: str) -> list[str]:
        """Return the files with the name of a batch. A valid batch has exactly one."""
        if not BATCH_NAME.fullmatch(name):
            return []
        return [file for file in file_names(name) if os.path.lexists(self.path / file)]
