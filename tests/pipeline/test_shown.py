"""What the Dagster UI is given to show: metadata of each asset, and the check of a refused batch, which stays red."""

from __future__ import annotations

import dagster as dg
import pytest
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from assets.__main__ import prepare_dagster
from assets.definitions import defs
from secure_ml.installation import Installation
from secure_ml.models.heart_disease import model
from secure_ml.orchestration.keys import asset_key, job_name
from secure_ml.orchestration.presentation import GATE
from secure_ml.stage_names import GRAPH_STAGES

FINDING = "chol: 123 of 123 rows below 50"


@pytest.fixture
def instance(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dg.DagsterInstance:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DAGSTER_HOME", "")
    prepare_dagster(Installation.from_environment(environment))
    return dg.DagsterInstance.get()


def take_in(instance: dg.DagsterInstance, batch: str) -> dg.ExecuteInProcessResult:
    job = defs.resolve_job_def(job_name(model.name, "intake"))
    return job.execute_in_process(instance=instance, partition_key=batch, raise_on_error=False)


def materialized(instance: dg.DagsterInstance, stage: str) -> dg.AssetMaterialization:
    event = instance.get_latest_materialization_event(asset_key(model.name, stage))
    assert event is not None
    assert event.asset_materialization is not None
    return event.asset_materialization


def test_every_asset_says_what_it_is() -> None:
    graph = defs.resolve_asset_graph()
    for stage in GRAPH_STAGES:
        node = graph.get(asset_key(model.name, stage))
        assert node.description
        assert node.kinds
        assert list(node.owners) == list(model.owners)
        assert node.code_version
        assert node.group_name == model.name
    partitioned = {
        stage for stage in GRAPH_STAGES if graph.get(asset_key(model.name, stage)).partitions_def is not None
    }
    assert partitioned == {"dataset", "validated_dataset"}


def test_a_refused_batch_is_red_for_its_partition_and_stays_so_after_a_good_one(instance: dg.DagsterInstance) -> None:
    assert take_in(instance, "cleveland").success
    assert not take_in(instance, "switzerland").success
    assert take_in(instance, "hungarian").success
    key = dg.AssetCheckKey(asset_key(model.name, "validated_dataset"), GATE)
    found = {
        str(record.partition): record
        for record in instance.event_log_storage.get_asset_check_execution_history(key, limit=10)
    }
    assert {batch: record.status for batch, record in found.items()} == {
        "cleveland": AssetCheckExecutionRecordStatus.SUCCEEDED,
        "switzerland": AssetCheckExecutionRecordStatus.FAILED,
        "hungarian": AssetCheckExecutionRecordStatus.FAILED,
    }
    severity = {
        batch: record.event.dagster_event.asset_check_evaluation_data.severity  # type: ignore[union-attr]
        for batch, record in found.items()
    }
    assert severity["switzerland"] == dg.AssetCheckSeverity.ERROR
    assert severity["hungarian"] == dg.AssetCheckSeverity.WARN, "accepted, with warnings"
    assert instance.get_materialized_partitions(asset_key(model.name, "validated_dataset")) == {
        "cleveland",
        "hungarian",
    }
    evaluation = found["switzerland"].event.dagster_event.asset_check_evaluation_data  # type: ignore[union-attr]
    assert FINDING in str(evaluation.description)
    table = evaluation.metadata["findings"]
    assert isinstance(table, dg.TableMetadataValue)
    assert FINDING in {row.data["finding"] for row in table.records}


def test_materializations_carry_digests_rows_columns_findings_figures_plot_and_links(
    instance: dg.DagsterInstance,
) -> None:
    assert take_in(instance, "hungarian").success
    shown = materialized(instance, "validated_dataset").metadata
    assert shown["dagster/row_count"].value == 294
    schema = shown["dagster/column_schema"].value
    assert isinstance(schema, dg.TableSchema)
    assert {column.name: column.type for column in schema.columns}["chol"] == "Float64"
    findings = shown["findings"]
    assert isinstance(findings, dg.TableMetadataValue)
    assert any("chol" in str(row.data["finding"]) for row in findings.records)
    digests = shown["digests"]
    assert isinstance(digests, dg.TableMetadataValue)
    assert "table.parquet" in {row.data["file"] for row in digests.records}
    assert materialized(instance, "validated_dataset").tags["dagster/data_version"]

    assert take_in(instance, "cleveland").success
    promotion = defs.resolve_job_def(job_name(model.name, "promotion"))
    assert promotion.execute_in_process(instance=instance).success
    trained = materialized(instance, "trained_model").metadata
    assert "data:image/svg+xml;base64," in str(trained["plot"].value)
    figures = trained["evaluation"]
    assert isinstance(figures, dg.TableMetadataValue)
    assert "holdout_roc_auc" in {row.data["evaluation"] for row in figures.records}
    assert str(materialized(instance, "signed_model").metadata["mlflow_run"].value).startswith("http://127.0.0.1:")
    assert materialized(instance, "release").metadata["current_release"].value == 1
