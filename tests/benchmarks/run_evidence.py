"""Cost of one stage in a home with many accepted batches: `python -m tests.benchmarks.run_evidence WORK BATCHES`.

WORK is `intake` (both stages of one more batch), `sensor` (the cause of the present training set) or `release` (the
decision about a signed model). The home is made before the clock starts.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from secure_ml.installation import Installation
from secure_ml.operations.pending_work import undecided_training_set
from secure_ml.spec import GuardedModel
from secure_ml.stages.dataset import ingest_batch
from secure_ml.stages.release import decide_release
from secure_ml.stages.signed_model import sign
from secure_ml.stages.trained_model import train
from secure_ml.stages.training_set import build_training_set
from secure_ml.stages.validated_dataset import validate_batch
from tests.benchmarks.measuring import measured
from tests.installed_home import environment_in
from tests.many_batches import accept_batches, model_to_train, write_batch


def intake(installation: Installation, model: GuardedModel) -> Callable[[], object]:
    for batch in ("warm", "next"):
        write_batch(installation.home.inbox / model.name, batch, seed=len(batch))
    _take(installation, model, "warm")  # imports are outside the clock
    return lambda: _take(installation, model, "next")


def sensor(installation: Installation, model: GuardedModel) -> Callable[[], object]:
    return lambda: undecided_training_set(installation, model)


def promotion(installation: Installation, model: GuardedModel) -> Callable[[], object]:
    for stage in (build_training_set, train, sign):
        stage(installation, model)
    return lambda: decide_release(installation, model)


def _take(installation: Installation, model: GuardedModel, batch: str) -> None:
    ingest_batch(installation, model, batch)
    validate_batch(installation, model, batch)


WORKS = {"intake": intake, "sensor": sensor, "release": promotion}


def main() -> None:
    work, batches = WORKS[sys.argv[1]], int(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder:
        installation = Installation.from_environment(environment_in(Path(folder)))
        model = model_to_train(Path(folder) / "models")
        accept_batches(installation, model, batches)
        measured(work(installation, model))


main()
