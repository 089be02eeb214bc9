"""The home: the paths of one installation's state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from secure_ml.errors import PreconditionError
from secure_ml.safe_files import create_file, create_folder

__all__ = ["Home"]


@dataclass(frozen=True, slots=True)
class Home:
    """The folder that holds all state of one installation (`SECURE_ML_HOME`, default `.secure_ml/`)."""

    root: Path

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Home:
        """Return the home that `SECURE_ML_HOME` names, and create it if it is missing.

        Raises:
            PreconditionError: If the folder cannot be created.
        """
        root = Path(environment.get("SECURE_ML_HOME") or ".secure_ml").absolute()
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise PreconditionError(
                f"SECURE_ML_HOME {root}: cannot be created ({error.strerror}); name a folder that you can write"
            ) from None
        return cls(root.resolve())

    @property
    def inbox(self) -> Path:
        """Inbox for new batches, a folder per model."""
        return self.root / "inbox"

    @property
    def datasets(self) -> Path:
        """Dataset versions, content-addressed."""
        return self.root / "datasets"

    @property
    def models(self) -> Path:
        """Model versions, content-addressed."""
        return self.root / "models"

    @property
    def evidence(self) -> Path:
        """Signed evidence, `<model>/<stage>/<cause>.json`."""
        return self.root / "evidence"

    @property
    def releases(self) -> Path:
        """Signed, numbered release documents, `<model>/<number>.json`."""
        return self.root / "releases"

    @property
    def log(self) -> Path:
        """Inference log: one SQLite file per service process, and the sealed segments."""
        return self.root / "log"

    @property
    def lake(self) -> Path:
        """DuckDB views over files of record."""
        return self.root / "lake"

    @property
    def quarantine(self) -> Path:
        """Rejected batches and windows, with reasons and failing rows."""
        return self.root / "quarantine"

    @property
    def mlflow(self) -> Path:
        """MLflow's SQLite backend and artifacts."""
        return self.root / "mlflow"

    @property
    def dagster(self) -> Path:
        """Dagster's instance."""
        return self.root / "dagster"

    @property
    def reports(self) -> Path:
        """HTML reports."""
        return self.root / "reports"

    def write_file(self, path: Path, content: bytes) -> Path:
        """Create a file of record in this home, see `create_file`."""
        return create_file(path, content, drafts=self.root / "tmp")

    def write_folder(self, path: Path, files: Mapping[str, bytes]) -> Path:
        """Create a folder of record in this home, see `create_folder`."""
        return create_folder(path, files, drafts=self.root / "tmp")
