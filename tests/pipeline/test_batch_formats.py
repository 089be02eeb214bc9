"""A batch may be Parquet, Arrow IPC, JSON lines or CSV: the same verdict and the same table, whatever it comes as."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pandera.polars as pa
import polars as pl
import pytest

from secure_ml.contracts.contract_file import Contract
from secure_ml.contracts.findings import Report
from secure_ml.contracts.validate import validate
from secure_ml.digests import sha256
from secure_ml.errors import RejectedError
from secure_ml.evidence import Evidence, read_subjects
from secure_ml.installation import Installation
from secure_ml.operations.dataset_versions import compare
from secure_ml.operations.integrity_check import check_stage
from secure_ml.operations.pending_work import pending_inbox_batches
from secure_ml.spec import GuardedModel
from secure_ml.stages.dataset import BATCH_FILES, dataset_folder, ingest_batch
from secure_ml.stages.incoming import batch_names
from secure_ml.stages.training_set import TRAINING_FILE, build_training_set
from secure_ml.stages.validated_dataset import TABLE_FILE, validate_batch
from secure_ml.tables.batch_files import open_batch
from tests.installed_home import environment_in, flip, serving
from tests.pipeline.test_own_model import run_script
from tests.readme_model import environment_with, install, rows
from tests.sample_model import guarded_model
from tests.sources_support import GOOD, model_on

KINDS = {".csv": "CSV", ".parquet": "Parquet", ".arrow": "Arrow", ".jsonl": "JSON lines"}
FRAME = pl.read_csv(GOOD)


def rendered(frame: pl.DataFrame, suffix: str) -> bytes:
    buffer = io.BytesIO()
    match suffix:
        case ".csv":
            frame.write_csv(buffer)
        case ".parquet":
            frame.write_parquet(buffer)
        case ".arrow":
            frame.write_ipc(buffer)
        case ".jsonl":
            frame.write_ndjson(buffer)
    return buffer.getvalue()


def put(installation: Installation, model: GuardedModel, name: str, content: bytes) -> None:
    inbox = installation.home.inbox / model.name
    inbox.mkdir(parents=True, exist_ok=True)
    (inbox / name).write_bytes(content)


def take_in(installation: Installation, model: GuardedModel, batch: str) -> tuple[Evidence, Evidence]:
    return ingest_batch(installation, model, batch), validate_batch(installation, model, batch)


def test_a_batch_of_each_kind_is_kept_as_it_came_and_gives_the_same_table(installation: Installation) -> None:
    model = model_on()
    tables = set()
    for suffix, kind in KINDS.items():
        content = rendered(FRAME, suffix)
        batch = suffix.removeprefix(".")
        put(installation, model, f"{batch}{suffix}", content)
        given, validated = take_in(installation, model, batch)
        folder = dataset_folder(installation.home, model.name, given.inputs["version"])
        assert (folder / BATCH_FILES[kind]).read_bytes() == content
        assert given.subjects[BATCH_FILES[kind]] == sha256(content)
        assert (given.facts["rows"], given.facts["source"]) == (60, f"{batch}{suffix}")
        tables.add(validated.subjects[TABLE_FILE])
    assert len(tables) == 1, "the same rows are the same typed table"
    assert batch_names(model, installation.home) == ["arrow", "csv", "jsonl", "parquet"]
    for stage in ("dataset", "validated_dataset"):
        assert check_stage(installation, model, stage) == (4, [])


@pytest.mark.parametrize("suffix", KINDS)
def test_a_broken_rule_is_the_same_sentence_in_each_kind(suffix: str, installation: Installation) -> None:
    bad = FRAME.with_columns(pl.when(pl.int_range(pl.len()) == 7).then(99.5).otherwise("x").alias("x"))
    model = model_on()
    put(installation, model, f"bad{suffix}", rendered(bad, suffix))
    with pytest.raises(RejectedError, match="x: 1 of 60 rows above 10"):
        take_in(installation, model, "bad")
    (kept,) = installation.home.quarantine.glob("tiny/*/failing_rows.csv")
    assert pl.read_csv(kept)["row"].to_list() == [8]


@pytest.mark.parametrize("suffix", KINDS)
def test_failing_rows_alone_are_kept_back_in_each_kind(suffix: str, installation: Installation, tmp_path: Path) -> None:
    model = guarded_model(tmp_path / "model", keeps="rows")
    frame = pl.DataFrame({"x": [1.0, 99.0, 2.0], "y": [0.5, 0.25, None], "target": [0, 1, 1]})
    frame = pl.concat([frame, *[frame.head(1)] * 5])
    put(installation, model, f"first{suffix}", rendered(frame, suffix))
    _, validated = take_in(installation, model, "first")
    assert validated.facts["refused_rows"] == 1
    folder = dataset_folder(installation.home, model.name, validated.cause)
    table = pl.read_parquet(io.BytesIO(read_subjects(validated, folder)[TABLE_FILE]))
    assert table.equals(frame.filter(pl.col("x") < 99))
    assert check_stage(installation, model, "validated_dataset") == (1, [])


def test_a_column_of_another_type_is_refused_in_a_typed_file(installation: Installation) -> None:
    model = model_on()
    put(installation, model, "bad.parquet", rendered(FRAME.with_columns(pl.col("target").cast(pl.String)), ".parquet"))
    with pytest.raises(RejectedError, match="target: column is of type String, expected Int64"):
        take_in(installation, model, "bad")


def test_an_infinite_feature_passes_the_contract_and_is_refused(installation: Installation, tmp_path: Path) -> None:
    """The attack first: no rule of the contract speaks of y, so pandera and the compiled contract take it."""
    model = guarded_model(tmp_path / "model")
    content = rendered(pl.DataFrame({"x": [1.0, 2.0], "y": [float("inf"), 1.0], "target": [0, 1]}), ".parquet")
    assert validate(open_batch(content, model.batches, "bad"), model.schema).accepted
    put(installation, model, "bad.parquet", content)
    with pytest.raises(RejectedError, match="y: 1 of 2 rows infinite, and no request can hold that"):
        take_in(installation, model, "bad")


def test_what_is_coerced_or_filled_reaches_the_table_as_the_contract_says(tmp_path: Path) -> None:
    model = guarded_model(tmp_path / "model")
    column = pa.Column(pl.Float64, pa.Check.in_range(-10, 10), coerce=True, default=3.0)
    schema = pa.DataFrameSchema({"x": column, "y": pa.Column(pl.Float64), "target": pa.Column(pl.Int64)})
    rest = {"y": [1.0, 2.0], "target": [0, 1]}

    def report(x: pl.Series) -> Report:
        content = rendered(pl.DataFrame({"x": x, **rest}), ".parquet")
        return validate(open_batch(content, model.batches, "x"), Contract.of_model(replace(model, contract=schema)))

    integers = pl.Series([1, 2])
    for given in (integers, integers.cast(pl.Float32), pl.Series(["1", "2.0"]), pl.Series([1.0, 2.0])):
        found = report(given)
        assert found.accepted
        assert found.frame is not None
        assert found.frame["x"].equals(pl.Series("x", [1.0, 2.0]))
    filled = report(pl.Series([None, "2"])).frame
    assert filled is not None
    assert filled["x"].to_list() == [3.0, 2.0]
    wrong = report(pl.Series(["a", "2"]))
    assert not wrong.accepted
    assert wrong.frame is None
    unbounded = pa.Column(pl.Float64, coerce=True)
    schema = pa.DataFrameSchema({"x": unbounded, "y": pa.Column(pl.Float64), "target": pa.Column(pl.Int64)})
    infinite = report(pl.Series(["inf", "2"]))
    assert [finding.sentence for finding in infinite.findings] == [
        "x: 1 of 2 rows infinite, and no request can hold that"
    ]


def test_not_a_number_is_missing_to_the_training_set(installation: Installation, tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "x": [index / 10 for index in range(40)],
            "y": [float("nan") if index % 9 == 0 else index / 7 for index in range(40)],
            "target": [index % 2 for index in range(40)],
        }
    )
    (tmp_path / "other.parquet").write_bytes(rendered(frame, ".parquet"))
    given = guarded_model(tmp_path / "model")
    model = replace(given, batches=replace(given.batches, files={"other": tmp_path / "other.parquet"}))
    take_in(installation, model, "other")
    made = build_training_set(installation, model)
    rows_kept = made.facts["rows"]
    assert isinstance(rows_kept, dict)
    assert sum(rows_kept.values()) == 40
    assert 0 < rows_kept[TRAINING_FILE] < 40


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_a_file_that_is_damaged_in_its_middle_is_quarantined(suffix: str, installation: Installation) -> None:
    model = model_on()
    content = bytearray(rendered(pl.concat([FRAME] * 50), suffix))
    content[200 : len(content) - 3000] = b"\xff" * (len(content) - 3200)
    put(installation, model, f"bad{suffix}", bytes(content))
    with pytest.raises(RejectedError, match="cannot be read"):
        take_in(installation, model, "bad")
    (kept,) = installation.home.quarantine.glob("tiny/*/findings.json")
    assert [finding["code"] for finding in json.loads(kept.read_text())["findings"]] == ["unreadable"]


def test_two_files_of_one_name_are_quarantined_and_stop_no_other_batch(installation: Installation) -> None:
    model = model_on()
    for name in ("twice.csv", "twice.parquet", "once.parquet"):
        put(installation, model, name, rendered(FRAME, Path(name).suffix))
    assert [arrival.batch for arrival in pending_inbox_batches(installation, model)] == ["once", "twice"]
    with pytest.raises(RejectedError, match="2 files are batch twice; remove all but one"):
        ingest_batch(installation, model, "twice")
    take_in(installation, model, "once")
    assert pending_inbox_batches(installation, model) == []


def test_a_changed_byte_of_a_stored_parquet_batch_is_found(installation: Installation) -> None:
    model = model_on()
    put(installation, model, "next.parquet", rendered(FRAME, ".parquet"))
    given, _ = take_in(installation, model, "next")
    flip(dataset_folder(installation.home, model.name, given.inputs["version"]) / "batch.parquet")
    with pytest.raises(RejectedError, match=r"batch\.parquet: changed"):
        validate_batch(installation, model, "next")
    for stage in ("dataset", "validated_dataset"):
        assert "batch.parquet: changed" in check_stage(installation, model, stage)[1][0]


def test_versions_of_different_kinds_are_compared_by_value(installation: Installation) -> None:
    model = model_on()
    put(installation, model, "one.parquet", rendered(FRAME, ".parquet"))
    put(installation, model, "two.arrow", rendered(FRAME.head(50), ".arrow"))
    for batch in ("one", "two"):
        take_in(installation, model, batch)
    _, _, difference, distances = compare(installation, model, "one", "two")
    assert (difference.added, difference.removed, difference.columns_retyped) == (0, 10, ())
    assert distances is not None


def test_a_users_own_model_goes_from_typed_batches_to_a_release_that_answers(tmp_path: Path) -> None:
    site = install(tmp_path)
    package = site / "my_package"
    text = (package / "tiny.py").read_text()
    (package / "tiny.py").write_text(text.replace("first.csv", "first.parquet"))
    (package / "first.csv").unlink()
    (package / "first.parquet").write_bytes(rendered(pl.read_csv(rows(400, seed=1).encode()), ".parquet"))
    environment = environment_with(site, environment_in(tmp_path))
    inbox = tmp_path / "home" / "inbox" / "tiny"
    inbox.mkdir(parents=True)
    for seed, name in ((2, "second.arrow"), (3, "third.jsonl")):
        frame = pl.read_csv(rows(200, seed=seed).encode())
        (inbox / name).write_bytes(rendered(frame, Path(name).suffix))
    said = run_script(_RELEASE, environment)
    assert said == {"first": "batch.parquet", "second": "batch.arrow", "third": "batch.jsonl", "trained_on": "800"}
    with serving(environment, "tiny") as service:
        status, answer = service.post("/predict", {"x": 2.0, "y": 2.0})
    assert status == 200, answer


_RELEASE = """
from secure_ml.conformance import check_model
assert check_model(model) == []
said = {}
for batch in ("first", "second", "third"):
    given = ingest_batch(place, model, batch)
    (said[batch],) = [name for name in given.subjects if not name.startswith("manifest")]
    validate_batch(place, model, batch)
made = build_training_set(place, model)
said["trained_on"] = str(sum(made.facts["rows"].values()))
for stage in (train, sign, decide_release):
    stage(place, model)
assert current_release(place.home, place.trust, "tiny").number == 1
print(json.dumps(said))
"""
