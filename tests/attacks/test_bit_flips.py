"""One flipped bit in any file of record: whoever uses it refuses, and names the file."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from secure_ml.errors import SecureMLError
from secure_ml.installation import Installation
from secure_ml.models.heart_disease import model
from secure_ml.operations.integrity_check import check_stage
from secure_ml.releases import current_release, publish_release, read_released
from secure_ml.signing.keys import Signer
from secure_ml.signing.model_signature import sign_model
from secure_ml.stages.dataset import ingest_batch
from secure_ml.stages.drift_report import report_drift
from secure_ml.stages.inference_log import seal_log
from secure_ml.stages.release import decide_release
from secure_ml.stages.signed_model import sign
from secure_ml.stages.trained_model import train
from secure_ml.stages.training_set import build_training_set
from secure_ml.stages.validated_dataset import validate_batch
from tests.installed_home import environment_in, flip, replace_file, run_to_release, serving, start_service

STAGES = (
    "dataset",
    "validated_dataset",
    "training_set",
    "trained_model",
    "signed_model",
    "release",
    "inference_log",
    "drift_report",
)


def files_of_record(environment: dict[str, str]) -> list[Path]:
    home = Path(environment["SECURE_ML_HOME"])
    found = [path for part in ("datasets", "models", "evidence", "releases") for path in (home / part).rglob("*")]
    found += [*(home / "log").rglob("*.parquet"), *(home / "reports").rglob("*.html")]
    return sorted(path for path in found if path.is_file())


def released_file(environment: dict[str, str], name: str) -> Path:
    home = Path(environment["SECURE_ML_HOME"])
    (path,) = [found for part in ("models", "releases") for found in (home / part).rglob(name)]
    return path


def use_everything(place: Installation) -> None:
    ingest_batch(place, model, "cleveland")
    validate_batch(place, model, "cleveland")
    build_training_set(place, model)
    train(place, model)
    sign(place, model)
    decide_release(place, model)
    seal_log(place, model)
    report_drift(place, model)


def test_one_flipped_bit_in_any_file_is_found_and_named(ready: dict[str, str]) -> None:
    place = Installation.from_environment(ready)
    use_everything(place)
    files = files_of_record(ready)
    kinds = {path.relative_to(place.home.root).parts[0] for path in files}
    assert kinds == {"datasets", "models", "evidence", "releases", "log", "reports"}
    names = {path.name for path in files}
    assert {"batch.csv", "model.skops", "model.onnx", "model.json", "model.sig", "000001.json"} <= names
    for path in files:
        good = path.read_bytes()
        for position in (0, len(good) // 2, len(good) - 1):
            flip(path, position)
            with pytest.raises(SecureMLError) as caught:
                use_everything(place)
            assert path.name in str(caught.value), f"{path} flipped at {position}: {caught.value}"
            path.write_bytes(good)
    use_everything(place)


def test_nightly_validation_names_each_changed_file(ready: dict[str, str]) -> None:
    place = Installation.from_environment(ready)
    for stage in STAGES:
        count, found = check_stage(place, model, stage)
        assert count > 0
        assert found == []
    for path in files_of_record(ready):
        good = path.read_bytes()
        flip(path)
        said = [sentence for stage in STAGES for sentence in check_stage(place, model, stage)[1]]
        assert any(path.name in sentence for sentence in said), path
        path.write_bytes(good)


@pytest.mark.parametrize("name", ["model.onnx", "model.json", "model.skops", "model.sig", "000001.json"])
def test_the_service_does_not_start_on_one_changed_byte(name: str, ready: dict[str, str]) -> None:
    path = released_file(ready, name)
    flip(path)
    with pytest.raises(AssertionError, match=r"exit [12]") as caught:
        start_service(ready).process.kill()
    assert name in str(caught.value)


@pytest.mark.parametrize("name", ["model.onnx", "model.sig", "000001.json"])
def test_the_service_stops_serving_after_one_changed_byte_and_names_the_file(name: str, ready: dict[str, str]) -> None:
    from tests.installed_home import PATIENT
    from tests.wait import until

    path = released_file(ready, name)
    with serving(ready) as service:
        assert service.post("/predict", PATIENT)[0] == 200
        flip(path)
        until(lambda: service.get("/v2/health/ready")[0] == 503)
        status, answer = service.post("/predict", PATIENT)
        assert status == 503
        assert name in answer["error"]
        assert service.get("/v2/health/live")[0] == 200
        assert "secure_ml_intact 0.0" in service.text("/metrics")


@pytest.mark.parametrize("name", ["model.onnx", "model.sig"])
def test_the_verify_command_names_the_file(name: str, ready: dict[str, str]) -> None:
    command = [sys.executable, "-m", "secure_ml.cli", "verify", "heart_disease"]
    environment = {**os.environ, **ready}
    good = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert good.returncode == 0, good.stderr
    path = released_file(ready, name)
    flip(path)
    bad = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert bad.returncode == 1
    assert name in bad.stderr


def test_a_file_added_to_the_model_folder_is_refused(ready: dict[str, str]) -> None:
    place = Installation.from_environment(ready)
    now = current_release(place.home, place.trust, model.name)
    (place.home.models / model.name / now.model_digest / "extra.onnx").write_bytes(b"x")
    with pytest.raises(SecureMLError, match=r"extra\.onnx"):
        read_released(place.home, place.trust, now)


def test_a_key_beside_the_model_is_not_believed(ready: dict[str, str], tmp_path: Path) -> None:
    """A whole model folder, signed by another key that lies right beside it, and even in the home's own keys folder."""
    place = Installation.from_environment(ready)
    foreign: Signer = Installation.from_environment(environment_in(tmp_path / "foreign")).signer()
    now = current_release(place.home, place.trust, model.name)
    folder = place.home.models / model.name / now.model_digest
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "model.sig"}
    replace_file(folder / "model.sig", sign_model(files, model.name, foreign))
    for beside in (folder.parent / "signer.pem", place.home.root / "keys" / "signer.pem"):
        beside.parent.mkdir(exist_ok=True)
        beside.write_bytes((tmp_path / "foreign" / "trust" / "keys" / "signer.pem").read_bytes())
    with pytest.raises(SecureMLError, match=r"model\.sig"):
        sign(place, model)
    from secure_ml.signing.model_signature import verify_model

    with pytest.raises(SecureMLError, match="not in the trust root"):
        verify_model(files, (folder / "model.sig").read_bytes(), place.trust)


def test_a_removed_release_is_a_rollback(ready: dict[str, str]) -> None:
    place = Installation.from_environment(ready)
    current_release(place.home, place.trust, model.name).path.unlink()
    with pytest.raises(SecureMLError, match="rolled back"):
        current_release(place.home, place.trust, model.name)


def test_an_older_release_put_back_is_a_rollback(ready: dict[str, str]) -> None:
    place = Installation.from_environment(ready)
    now = current_release(place.home, place.trust, model.name)
    newer = publish_release(
        place.home,
        place.signer(),
        place.trust,
        model=model.name,
        number=2,
        model_digest=now.model_digest,
        files=now.files,
        inputs=now.inputs,
    )
    newer.path.unlink()
    with pytest.raises(SecureMLError, match="release 2 was seen before and is missing"):
        current_release(place.home, place.trust, model.name)


def test_an_emptied_home_starts_anew(ready: dict[str, str]) -> None:
    place = Installation.from_environment(ready)
    for part in ("datasets", "models", "evidence", "releases", "mlflow"):
        shutil.rmtree(place.home.root / part)
    run_to_release(place, model, "cleveland")
    assert current_release(place.home, place.trust, model.name).number == 1
