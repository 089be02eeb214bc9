"""Real things that several tests need: a home on which the main job has run, a service process, a foreign signer."""

from __future__ import annotations

import contextlib
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

from secure_ml.evidence import EvidenceLog, read_subjects
from secure_ml.installation import Installation
from secure_ml.models.heart_disease import model as heart_disease
from secure_ml.spec import GuardedModel
from secure_ml.stages.dataset import dataset, dataset_folder
from secure_ml.stages.drift_report import drift_report
from secure_ml.stages.inference_log import inference_log
from secure_ml.stages.release import release
from secure_ml.stages.signed_model import signed_model
from secure_ml.stages.trained_model import trained_model
from secure_ml.stages.training_set import LIVE_FILE, training_set
from secure_ml.stages.validated_dataset import validated_dataset

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
    dataset(installation, model, batch)
    validated_dataset(installation, model, batch)
    training_set(installation, model)
    trained_model(installation, model)
    signed_model(installation, model)
    release(installation, model)


def build_home(folder: Path) -> dict[str, str]:
    """Release from cleveland, serve its live rows from a real process, seal them, and report drift."""
    environment = environment_in(folder)
    installation = Installation.from_environment(environment)
    run_to_release(installation, heart_disease, "cleveland")
    with serving(environment) as service:
        for row in live_rows(installation):
            status, _ = service.post("/predict", row)
            assert status == 200
    inference_log(installation, heart_disease)
    drift_report(installation, heart_disease)
    return environment


def copy_home(environment: dict[str, str], folder: Path) -> dict[str, str]:
    """Copy home, keys and trust root, so that a test may do with them what it likes."""
    origin = Path(environment["SECURE_ML_HOME"]).parent
    for name in ("home", "keys", "trust"):
        shutil.copytree(origin / name, folder / name, symlinks=True)
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


def live_rows(installation: Installation) -> list[dict[str, float | None]]:
    given = EvidenceLog.of(installation, heart_disease.name).latest("training_set")
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
    path.chmod(0o600)
    path.write_bytes(bytes(content))
