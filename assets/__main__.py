"""Run the main job of one model (`python -m assets run MODEL`), or the UI on the same home (`python -m assets ui`)."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from secure_ml.errors import SecureMLError, UnavailableError
from secure_ml.installation import Installation
from secure_ml.safe_files import lock_folder, replace_file

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m assets", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="materialize all batches, serve, send live rows, report drift")
    run.add_argument("model", help="a registered model, such as heart_disease")
    commands.add_parser("ui", help="start the Dagster UI and daemon, the reports and MLflow's UI, on loopback")
    chosen = parser.parse_args(arguments)
    try:
        installation = Installation.from_environment(os.environ)
        prepare_dagster(installation)
        if chosen.command == "ui":
            from assets.ui import serve_ui

            return serve_ui(installation)
        from assets.main_job import run_model

        return run_model(installation, chosen.model)
    except SecureMLError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def prepare_dagster(installation: Installation) -> None:
    """Point Dagster at its instance in the home, make its databases and partitions, and call nobody."""
    home = installation.home.dagster
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings = Path(__file__).parent.parent / "infra" / "dagster.yaml"
    replace_file(home / "dagster.yaml", settings.read_bytes())
    os.environ["DAGSTER_HOME"] = str(home)
    os.environ["SECURE_ML_HOME"] = str(installation.home.root)
    for name, value in (
        ("DAGSTER_DISABLE_TELEMETRY", "1"),
        ("DO_NOT_TRACK", "1"),
        ("MLFLOW_DISABLE_TELEMETRY", "true"),
    ):
        os.environ[name] = value
    import dagster as dg

    from secure_ml.orchestration.keys import batches_of
    from secure_ml.spec import find_models
    from secure_ml.stages.incoming import batch_names

    # Two processes that make Dagster's SQLite files at once both stamp their revision, which nothing can open again.
    with lock_folder(home), dg.DagsterInstance.get() as instance:
        instance.get_runs_count()
        instance.all_instigator_state()
        instance.all_asset_keys()
        for model in find_models().values():
            partitions = batches_of(model.name).name or ""
            try:
                instance.add_dynamic_partitions(partitions, batch_names(model, installation.home))
            except UnavailableError as error:
                print(f"{model.name}: its batches are not shown yet: {error}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
