"""The MLflow registry: signed models are logged, and the alias `champion` follows the release. No gate reads it.

Importing MLflow takes five seconds of CPU, so simple queries read its SQLite backend directly.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from secure_ml.errors import UnavailableError
from secure_ml.home import Home
from secure_ml.safe_files import lock_folder

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["RegisteredModel", "champion", "find_logged", "log_model", "set_champion"]

CHAMPION = "champion"
_DIGEST_TAG = "secure_ml.model_digest"
_FOLDER = "model"


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """Experiment, run and version of a model in MLflow."""

    experiment_id: str
    run_id: str
    version: str


def find_logged(home: Home, model: str, digest: str) -> RegisteredModel | None:
    """Return the registered model of a digest, or None. Does not import MLflow.

    Raises:
        UnavailableError: If the backend cannot be read.
    """
    rows = _query(
        home,
        "select r.experiment_id, r.run_uuid, v.version from tags t join runs r on r.run_uuid = t.run_uuid "
        "join model_versions v on v.run_id = r.run_uuid where t.key = ? and t.value = ? and v.name = ?",
        (_DIGEST_TAG, digest, model),
    )
    return RegisteredModel(*(str(value) for value in rows[0])) if rows else None


def champion(home: Home, model: str) -> str | None:
    """Return the version that the alias `champion` names, or None. Does not import MLflow.

    Raises:
        UnavailableError: If the backend cannot be read.
    """
    rows = _query(home, "select version from registered_model_aliases where name = ? and alias = ?", (model, CHAMPION))
    return str(rows[0][0]) if rows else None


def log_model(
    home: Home,
    model: str,
    digest: str,
    files: Mapping[str, bytes],
    *,
    params: Mapping[str, str],
    metrics: Mapping[str, float],
) -> RegisteredModel:
    """Log the signed folder as artifacts of a run and register it. The same digest is logged once.

    Raises:
        UnavailableError: If MLflow fails.
    """
    with _client(home) as client:
        known = find_logged(home, model, digest)
        if known is not None:
            return known
        from mlflow.exceptions import MlflowException

        folder_path = home.mlflow / "artifacts" / model
        experiment = client.get_experiment_by_name(model)
        location = folder_path.as_uri()
        if folder_path.resolve() != folder_path or (
            experiment is not None and experiment.artifact_location != location
        ):
            raise UnavailableError(
                f"MLflow store {home.mlflow}: changed or moved, artifacts would go elsewhere; remove the store"
            )
        experiment_id = (
            experiment.experiment_id
            if experiment is not None
            else client.create_experiment(model, artifact_location=location)
        )
        run = client.create_run(experiment_id, run_name=f"{model}-{digest[:12]}", tags={_DIGEST_TAG: digest})
        run_id = run.info.run_id
        for name, value in params.items():
            client.log_param(run_id, name, value)
        for name, figure in metrics.items():
            client.log_metric(run_id, name, figure)
        with tempfile.TemporaryDirectory() as folder:
            for name, content in files.items():
                (Path(folder) / name).write_bytes(content)
            client.log_artifacts(run_id, folder, _FOLDER)
        try:
            client.create_registered_model(model)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        source = f"{run.info.artifact_uri}/{_FOLDER}"
        version = client.create_model_version(model, source=source, run_id=run_id)
        client.set_terminated(run_id)
        return RegisteredModel(experiment_id, run_id, str(version.version))


def set_champion(home: Home, model: str, version: str) -> None:
    """Point the alias `champion` at a version.

    Raises:
        UnavailableError: If MLflow fails.
    """
    with _client(home) as client:
        client.set_registered_model_alias(model, CHAMPION, version)


@contextlib.contextmanager
def _client(home: Home) -> Iterator[MlflowClient]:
    """Open MLflow for one process at a time, without telemetry and without output."""
    for name, value in (("MLFLOW_DISABLE_TELEMETRY", "true"), ("DO_NOT_TRACK", "1"), ("GIT_PYTHON_REFRESH", "quiet")):
        os.environ[name] = value
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    for name in ("mlflow", "mlflow.store.db.utils", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)

    uri = f"sqlite:///{home.mlflow / 'mlflow.db'}"
    with lock_folder(home.mlflow):
        try:
            yield MlflowClient(tracking_uri=uri, registry_uri=uri)
        except (MlflowException, SQLAlchemyError, OSError) as error:
            raise UnavailableError(
                f"MLflow store {home.mlflow}: failed ({type(error).__name__}); repair it and materialize again"
            ) from error


def _query(home: Home, statement: str, parameters: tuple[str, ...]) -> list[tuple[object, ...]]:
    path = home.mlflow / "mlflow.db"
    if not path.exists():
        return []
    try:
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=10)) as database:
            return database.execute(statement, parameters).fetchall()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return []
        raise UnavailableError(f"MLflow store {home.mlflow}: cannot be read ({error}); retry later") from None
    except sqlite3.DatabaseError as error:
        raise UnavailableError(
            f"MLflow store {home.mlflow}: damaged ({type(error).__name__}); restore or remove it"
        ) from None
