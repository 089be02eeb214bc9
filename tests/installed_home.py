"""Real things that several tests need: a home on which the main job has run, a service process, a foreign signer."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from secure_ml.digests import sha256
from secure_ml.evidence import EvidenceLog, read_subjects
from secure_ml.installation import Installation
from secure_ml.models.heart_disease import model as heart_disease
from secure_ml.spec import GuardedModel
from secure_ml.stages.dataset import dataset_folder, ingest_batch
from secure_ml.stages.drift_report import report_drift
from secure_ml.stages.inference_log import seal_log
from secure_ml.stages.release import decide_release
from secure_ml.stages.signed_model import sign
from secure_ml.stages.trained_model import train
from secure_ml.stages.training_set import LIVE_FILE, build_training_set
from secure_ml.stages.validated_dataset import validate_batch

PATIENT = {
    "age": 63, "sex": 1, "cp": 1, "trestbps": 145, "chol": 233,
    "fbs": 1, "restecg": 2, "thalach": 150, "exang": 0, "oldpeak": 2.3,
}  # fmt: skip


def environment_in(folder: Path) -> dict[str, str]:
    return {
        "SECURE_ML_HOME": str(folder / "home"),
        "SECURE_ML_SIGNER": f"file2:{folder}/keys/signer.pem",
        "SECURE_ML_TRUST": str(folder / "trust"),
    }


def run_to_release(installation: Installation, model: GuardedModel, batch: str) -> None:
    ingest_batch(installation, model, batch)
    validate_batch(installation, model, batch)
    build_training_set(installation, model)
    train(installation, model)
    sign(installation, model)
    decide_release(installation, model)


def build_home(folder: Path) -> dict[str, str]:
    """Release from cleveland, serve its live rows from a real process, seal them, and report drift."""
    environment = environment_in(folder)
    installation = Installation.from_environment(environment)
    run_to_release(installation, heart_disease, "cleveland")
    with serving(environment) as service:
        for row in live_rows(installation):
            status, _ = service.post("/predict", row)
            assert status == 200
    seal_log(installation, heart_disease)
    report_drift(installation, heart_disease)
    return environment


# Folders of a home whose files are written once, under their digest or number, and never changed in place.
WRITTEN_ONCE = ("datasets", "models", "evidence", "releases", "reports")


def copy_home(environment: dict[str, str], folder: Path) -> dict[str, str]:
    """Make a home, keys and trust root of a test's own. Files that are written once are hard links, the rest copies.

    A test that changes such a file writes beside it and renames, as `replace_file` and `flip` do.
    """
    origin = Path(environment["SECURE_ML_HOME"]).parent
    linked = set(_written_once(origin / "home"))

    def link_or_copy(source: str, target: str) -> None:
        if Path(source) in linked:
            os.link(source, target)
        else:
            shutil.copy2(source, target)

    for name in ("home", "keys", "trust"):
        shutil.copytree(origin / name, folder / name, symlinks=True, copy_function=link_or_copy)
    store = folder / "home" / "mlflow" / "mlflow.db"
    if store.exists():  # it holds absolute paths
        with contextlib.closing(sqlite3.connect(store)) as database, database:
            for table, column in (
                ("experiments", "artifact_location"),
                ("runs", "artifact_uri"),
                ("model_versions", "source"),
            ):
                places = ((origin / "home").as_uri(), (folder / "home").as_uri())
                database.execute(f"update {table} set {column} = replace({column}, ?, ?)", places)
    return environment_in(folder)


def _written_once(home: Path) -> list[Path]:
    found = [path for part in WRITTEN_ONCE for path in (home / part).rglob("*")] + list(home.rglob("*.parquet"))
    return sorted({path for path in found if path.is_file() and not path.is_symlink()})


class SharedHome:
    """One home on which the main job ran, for all tests of a session and all its worker processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = environment_in(folder)

    def build(self) -> None:
        """Build the home if no other worker did, and make its files read-only."""
        self.folder.mkdir(parents=True, exist_ok=True)
        digests = self.folder / "digests.json"
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if digests.exists():
                return
            build_home(self.folder)
            for path in self._files():
                path.chmod(0o444)
            fresh = digests.with_suffix(".new")
            fresh.write_text(json.dumps({str(path): sha256(path.read_bytes()) for path in self._files()}))
            fresh.replace(digests)

    def state(self) -> list[tuple[str, int, int, int]]:
        """Return each shared file with its size, mode and time of change: cheap enough to look at after each test."""
        stats = [(str(path), path.stat()) for path in self._files()]
        return [(name, stat.st_size, stat.st_mode, stat.st_mtime_ns) for name, stat in stats]

    def require_unchanged(self) -> None:
        """Fail if a test wrote through a hard link."""
        expected = json.loads((self.folder / "digests.json").read_text())
        found = {str(path): sha256(path.read_bytes()) for path in self._files()}
        changed = sorted(path for path in expected.keys() | found.keys() if expected.get(path) != found.get(path))
        assert not changed, f"shared home: changed by a test of this session; write beside and rename: {changed}"

    def _files(self) -> list[Path]:
        return _written_once(self.folder / "home")


def live_rows(installation: Installation) -> list[dict[str, float | None]]:
    given = EvidenceLog.open(installation, heart_disease.name).latest("training_set")
    files = read_subjects(given, dataset_folder(installation.home, heart_disease.name, given.cause))
    frame = pl.read_parquet(files[LIVE_FILE]).select(pl.col(heart_disease.features).cast(pl.Float64))
    return frame.to_dicts()


@dataclass
class Service:
    process: subprocess.Popen[str]
    address: str

    def post(self, path: str, document: Any, headers: dict[str, str] | None = None) -> tuple[int, dict[str, Any]]:
        content = document if isinstance(document, bytes) else json.dumps(document).encode()
        request = urllib.request.Request(self.address + path, content, headers or {})
        return self._answer(request)

    def get(self, path: str) -> tuple[int, dict[str, Any]]:
        return self._answer(urllib.request.Request(self.address + path))

    def _answer(self, request: urllib.request.Request) -> tuple[int, dict[str, Any]]:
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, json.loads(response.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def text(self, path: str) -> str:
        with urllib.request.urlopen(self.address + path, timeout=30) as response:
            return str(response.read().decode())


def start_service(environment: dict[str, str], model: str = "heart_disease") -> Service:
    process = subprocess.Popen(
        [sys.executable, "-m", "secure_ml.cli", "serve", model, "--port", "0"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if line.startswith("serving ") and " on http" in line:
            return Service(process, line.rsplit(" on ", 1)[1].strip())
    process.wait(timeout=30)
    raise AssertionError(f"the service did not start (exit {process.returncode}): {''.join(said)[-2000:]}")


@contextlib.contextmanager
def serving(environment: dict[str, str], model: str = "heart_disease") -> Iterator[Service]:
    service = start_service(environment, model)
    try:
        yield service
    finally:
        service.process.send_signal(signal.SIGTERM)
        service.process.wait(timeout=30)
        assert service.process.stderr is not None
        service.process.stderr.close()


def flip(path: Path, position: int | None = None) -> None:
    """Flip one bit of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if position is None else position] ^= 1
    replace_file(path, bytes(content))


def replace_file(path: Path, content: bytes) -> None:
    """Give a file other content, and no file that is a hard link to it."""
    beside = path.with_name(f".{path.name}.beside")
    beside.write_bytes(content)
    beside.replace(path)
