"""Batches in a local folder: each `NAME.csv` is one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from secure_ml.datasets.sources.names import BATCH_NAME, MANIFEST_FILE, SUFFIX, batches_in, missing, read_manifest
from secure_ml.errors import UnavailableError
from secure_ml.home import read_file

__all__ = ["LocalFolder"]


@dataclass(frozen=True, slots=True)
class LocalFolder:
    """A flat folder of CSV files, and `manifest.dsse.json` beside them.

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
            MalformedError: Two files are the same batch.
        """
        try:
            paths = [entry.name for entry in self.path.iterdir()]
        except OSError as error:
            raise UnavailableError(f"folder {self.path}: cannot be listed ({error.strerror})") from None
        return list(batches_in(paths, self.place()))

    def fetch(self, name: str, *, max_bytes: int) -> bytes:
        """Read one batch, once.

        Raises:
            UnavailableError: No such batch, or it cannot be read.
            MalformedError: Not a regular file, or larger than `max_bytes`.
        """
        if not BATCH_NAME.fullmatch(name):
            raise missing(name, self.place())
        return read_file(self.path / f"{name}{SUFFIX}", max_bytes=max_bytes)

    def fetch_manifest(self) -> bytes | None:
        """Read the signed manifest, None where there is none.

        Raises:
            UnavailableError: It is there and cannot be read.
            MalformedError: Not a regular file, or too large.
        """
        return read_manifest(self.path / MANIFEST_FILE)

    def place(self, name: str | None = None) -> str:
        """Return where a batch lies, for people."""
        return str(self.path if name is None else self.path / f"{name}{SUFFIX}")
