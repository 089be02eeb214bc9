"""Kills a stage in the middle of writing, again and again. Run as a process: `python -m ... FOLDER TIMES STAGE...`.

It imports everything once and computes nothing, so that each attempt is a fork: one runs the stage and is killed by
SIGKILL right before one of its writes (opening for writing, linking, renaming, making a folder), the next looks at
what is left and runs the stage again.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

# Paid once, and not in each fork.
import cleanlab.filter  # noqa: F401
import evidently.presets  # noqa: F401
import ibis.backends.duckdb  # noqa: F401
import matplotlib.backends.backend_svg
import matplotlib.figure  # noqa: F401
import mlflow.store.tracking.sqlalchemy_store  # noqa: F401
import model_signing  # noqa: F401
import onnxruntime  # noqa: F401
import pandera.polars  # noqa: F401
import plotly.graph_objects  # noqa: F401
import pyarrow.parquet  # noqa: F401
import skl2onnx  # noqa: F401
import sklearn.linear_model
import sklearn.model_selection  # noqa: F401
import skops.io  # noqa: F401

from secure_ml.digests import sha256
from secure_ml.evidence import EvidenceLog
from secure_ml.inference_log.records import Record, new_id, now
from secure_ml.inference_log.writer import LogWriter
from secure_ml.installation import Installation
from secure_ml.lineage.mlflow_registry import log_model
from secure_ml.models.heart_disease import model
from secure_ml.releases import model_digest, releases
from secure_ml.stages.dataset import ingest_batch
from secure_ml.stages.drift_report import report_drift
from secure_ml.stages.inference_log import seal_log
from secure_ml.stages.release import decide_release
from secure_ml.stages.signed_model import sign
from secure_ml.stages.trained_model import train
from secure_ml.stages.training_set import build_training_set
from secure_ml.stages.validated_dataset import validate_batch
from tests.installed_home import PATIENT, copy_home, environment_in

RECORDS = 50
STAGES: dict[str, Callable[[Installation], object]] = {
    "dataset": lambda place: ingest_batch(place, model, "cleveland"),
    "validated_dataset": lambda place: validate_batch(place, model, "cleveland"),
    "training_set": lambda place: build_training_set(place, model),
    "trained_model": lambda place: train(place, model),
    "signed_model": lambda place: sign(place, model),
    "release": lambda place: decide_release(place, model),
    "inference_log": lambda place: seal_log(place, model),
    "drift_report": lambda place: report_drift(place, model),
}


def forked(work: Callable[[], None]) -> int:
    """Run `work` in a fork; return 0, 1 where it raised, or minus the signal that killed it."""
    process = os.fork()
    if process == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001 (the fork may not return into the parent's stack)
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(process, 0)
    return os.waitstatus_to_exitcode(status)


def count_writes(root: Path, at: int | None, total: Path) -> None:
    """Count this process's writes under `root`; die right before number `at`, or note how many there were."""
    seen = 0

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        if event == "open":
            path, _, flags = arguments
            if not (isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
                return
        elif event in ("os.rename", "os.link", "os.mkdir", "sqlite3.connect"):
            path = arguments[0]
        else:
            return
        if (
            isinstance(path, str | os.PathLike)
            and str(path).startswith(str(root))
            and not str(path).startswith(str(total))
        ):
            seen += 1
            if at is None:
                total.write_text(str(seen))
            elif seen == at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def write_log(place: Installation) -> None:
    now_released = releases(place.home, place.trust, model.name)[-1]
    writer = LogWriter(place.home.log / model.name / f"{new_id()}.sqlite")
    values = tuple(float(PATIENT[name]) for name in model.features)
    digest = now_released.model_digest
    for _ in range(RECORDS):
        record = Record(0, new_id(), now(), model.name, 1, digest, None, values, "present", 0.6, 0.6)
        writer.append([record]).result(timeout=30)
    writer.close()


def prepare(environment: dict[str, str], stage: str) -> None:
    """Write what the stage reads beside the evidence of the stages before it."""
    place = Installation.from_environment(environment)
    if stage == "inference_log":
        write_log(place)
    if stage == "dataset":
        log_model(place.home, "other", "0" * 64, {"model.json": b"{}"}, params={}, metrics={})  # its tables are made


def run_from(environment: dict[str, str], stage: str) -> None:
    """What the next start does: everything of record is whole, and the stage works."""
    place = Installation.from_environment(environment)
    home = place.home
    for folder in (home.evidence / model.name).glob("*"):
        EvidenceLog(home, place.trust, model.name).history(folder.name)
    releases(home, place.trust, model.name)
    for folder in (home.models / model.name).glob("*"):
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        assert model_digest(files) == folder.name, "a half-written model version"
    for path in (home.datasets / model.name).glob("*/batch.csv"):
        assert sha256(path.read_bytes()) == path.parent.name, "a half-written dataset version"
    STAGES[stage](place)
    if stage == "inference_log":
        sealed = EvidenceLog(home, place.trust, model.name).history("inference_log")
        assert sum(int(str(item.facts["rows"])) for item in sealed) == RECORDS, "records are missing or doubled"


def kill(stage: str, base: dict[str, str], folder: Path, times: int | None) -> dict[str, int]:
    """Run a stage, and kill it before each of `times` of its writes, or before one that is drawn if `times` is None.

    Each attempt starts from what `base` was before the stage; `base` itself goes on.
    """
    total = folder / f"{stage}.total"
    total.write_text("0")
    before = folder / f"before_{stage}"
    before.mkdir()
    origin = copy_home(base, before)
    assert forked(partial(run, base, stage, None, total)) == 0
    writes = int(total.read_text())
    if times is None:
        points = [random.Random(stage).randint(1, writes)]
    else:
        points = [1 + index * writes // times for index in range(times)]
    killed = 0
    for at in points:
        copied = folder / "attempt"
        copied.mkdir()
        environment = copy_home(origin, copied)
        killed += forked(partial(run, environment, stage, at, total)) == -signal.SIGKILL
        assert forked(partial(run_from, environment, stage)) == 0, f"{stage}: the start after kill {at} failed"
        shutil.rmtree(copied)
    return {"writes": writes, "killed": killed}


def run(environment: dict[str, str], stage: str, at: int | None, total: Path) -> None:
    place = Installation.from_environment(environment)
    count_writes(place.home.root, at, total)
    STAGES[stage](place)


def main() -> None:
    """Take a folder, how often each stage is killed (`one` draws a single write of each), and the stages to kill."""
    folder, times, chosen = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
    base = environment_in(folder / "base")
    found = {}
    for stage in STAGES:
        assert forked(partial(prepare, base, stage)) == 0
        if stage in chosen:
            found[stage] = kill(stage, base, folder, None if times == "one" else int(times))
        else:
            assert forked(partial(run, base, stage, None, folder / "total")) == 0
        if stage == chosen[-1]:
            break
    print(json.dumps(found))


if __name__ == "__main__":
    main()
