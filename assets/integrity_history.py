"""Results of the asset check `intact`, read from Dagster's run history.

No evidence records an integrity check, so Dagster is the only source. Its history lies in the home and is not signed.
Whoever shows a result must say so. This module reads the history and starts no run.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import dagster as dg
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecord
from dagster_shared.check import CheckError
from dagster_shared.serdes.errors import DeserializationError
from sqlalchemy.exc import SQLAlchemyError

from secure_ml.errors import UnavailableError
from secure_ml.home import Home
from secure_ml.orchestration.integrity_checks import INTACT
from secure_ml.orchestration.keys import asset_key
from secure_ml.stage_names import GRAPH_STAGES

__all__ = ["IntegrityResult", "load_integrity_results"]

Outcome = Literal["passed", "failed", "running", "unfinished"]

_SETTINGS: Final = Path(__file__).parent.parent / "infra"
_DATABASE: Final = ("history", "runs", "index.db")
_READ_ERRORS: Final = (
    *(dg.DagsterError, CheckError, DeserializationError, SQLAlchemyError, OSError),
    *(AttributeError, KeyError, TypeError, ValueError),  # rows that Dagster did not write
)


@dataclass(frozen=True, slots=True)
class IntegrityResult:
    """The newest run of the check of one stage.

    Attributes:
        stage: The stage.
        outcome: `unfinished` if the run ended before it recorded a result.
        time: Start of the check.
        description: The findings of the check, empty if there is no result.
    """

    stage: str
    outcome: Outcome
    time: datetime
    description: str


def load_integrity_results(home: Home, models: Iterable[str]) -> dict[str, list[IntegrityResult]]:
    """Return the newest result of each stage that was ever checked, by model.

    Models without results are left out.

    Raises:
        UnavailableError: If the history cannot be read, or a link lies in its place.
    """
    if not _has_database(home):
        return {}
    # The settings come from this repository. A `dagster.yaml` in the home could name any class to import.
    reference = InstanceRef.from_dir(str(home.dagster), config_dir=str(_SETTINGS))
    try:
        with dg.DagsterInstance.from_ref(reference) as instance:
            results = {model: _load_results(instance, model) for model in models}
    except _READ_ERRORS as error:
        raise UnavailableError(f"Dagster's history: cannot be read ({type(error).__name__})") from error
    return {model: checks for model, checks in results.items() if checks}


def _has_database(home: Home) -> bool:
    path = home.dagster
    for name in ("", *_DATABASE):
        path = path / name
        if path.is_symlink():
            raise UnavailableError(f"Dagster's history: {path} is a link, expected a file or folder; remove it")
    return path.is_file()


def _load_results(instance: dg.DagsterInstance, model: str) -> list[IntegrityResult]:
    results = []
    for stage in GRAPH_STAGES:
        key = dg.AssetCheckKey(asset_key(model, stage), INTACT)
        record = instance.get_latest_asset_check_evaluation_record(key)
        if record is not None:
            results.append(_result(instance, stage, record))
    return results


def _result(instance: dg.DagsterInstance, stage: str, record: AssetCheckExecutionRecord) -> IntegrityResult:
    evaluation = record.evaluation
    time = datetime.fromtimestamp(record.create_timestamp, UTC)
    match record.status.value, evaluation:
        case "SUCCEEDED", dg.AssetCheckEvaluation(passed=True, description=description):
            return IntegrityResult(stage, "passed", time, description or "")
        case "FAILED", dg.AssetCheckEvaluation(description=description):
            return IntegrityResult(stage, "failed", time, description or "")
    run = instance.get_run_by_id(record.run_id)
    running = record.status.value == "PLANNED" and run is not None and not run.is_finished
    return IntegrityResult(stage, "running" if running else "unfinished", time, "")
