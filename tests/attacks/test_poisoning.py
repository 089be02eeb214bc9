"""Poison that satisfies the contract works on a model; then what the screens find of it, and what of clean data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from secure_ml.errors import PreconditionError
from secure_ml.installation import Installation
from secure_ml.models.heart_disease import model as heart_disease
from secure_ml.screening.poisoning import MAX_ROWS, SCREENS, flag_rows, screen_poisoning
from secure_ml.stages.dataset import ingest_batch
from secure_ml.stages.training_set import build_training_set
from secure_ml.stages.validated_dataset import validate_batch
from tests.attacks.poison import DATA, KINDS, TARGET, load, plant, trigger
from tests.attacks.poisoning_figures import DOCUMENT, constants, harm, measure
from tests.attacks.poisoning_power import least_share

UNSEEN = (10, 11)  # seeds that the documented figures were not measured with


@pytest.mark.parametrize("name", DATA)
def test_unguarded_a_trigger_turns_the_predictions_of_a_trained_model(name: str) -> None:
    clean = harm(name, "rows with a trigger", 0.0, UNSEEN)
    assert harm(name, "rows with a trigger", 0.1, UNSEEN) > max(0.6, clean + 0.5)


def test_unguarded_a_flood_of_copies_turns_the_prediction_of_the_copied_row() -> None:
    seeds = range(10, 13)
    assert harm("digits", "copies", 0.0, seeds) < 0.2
    assert harm("digits", "copies", 0.05, seeds) > 0.8


def test_unguarded_flipped_labels_cost_right_answers() -> None:
    assert harm("digits", "flipped labels", 0.1, UNSEEN) > harm("digits", "flipped labels", 0.0, UNSEEN) + 0.02


@pytest.mark.parametrize("seeds", [UNSEEN[:1], pytest.param(UNSEEN, marks=pytest.mark.soak)])
def test_the_figures_that_findings_print_hold_on_poison_that_they_were_not_measured_with(
    seeds: tuple[int, ...],
) -> None:
    figures = {(name, kind, 0.05): measure(name, kind, 0.05, seeds) for name in DATA for kind in KINDS}
    for rule, (recall, false_alarms) in constants(figures).items():
        assert recall == pytest.approx(SCREENS[rule].recall, abs=0.12), rule
        assert false_alarms == pytest.approx(SCREENS[rule].false_alarms, abs=0.015), rule
    assert all(not any(item.wronged.values()) for item in figures.values()), "a finding about the clean anchor"


@pytest.mark.parametrize("name", DATA)
def test_clean_data_raises_nothing(name: str) -> None:
    clean = measure(name, "flipped labels", 0.0, UNSEEN)
    assert not any(clean.raised.values())
    assert not any(clean.wronged.values())
    for rule, screen in SCREENS.items():
        assert clean.worst[rule] <= screen.worst + 0.015


@pytest.mark.parametrize(
    ("name", "kind", "rule"),
    [
        ("heart_disease", "rows with a trigger", "spectral_signature"),
        ("breast_cancer", "copies", "near_duplicates"),
        ("digits", "flipped labels", "confident_learning"),
        ("digits", "flipped labels", "neighbours"),
    ],
)
def test_a_poisoned_batch_is_named_with_the_figures_of_the_screen(name: str, kind: Any, rule: str) -> None:
    planted = plant(name, kind, 0.1, seed=10)
    found = {item.rule: item for item in screen_poisoning(planted.x, planted.y, planted.batches, anchor="anchor")}
    finding = found[rule]
    assert (finding.tier, finding.code, finding.by, finding.column) == ("warn", "poisoning", "screen", None)
    assert finding.sentence.startswith(f"batch batch: {finding.failed} of {finding.rows} rows ")
    assert f"finds {SCREENS[rule].recall:.0%} of {SCREENS[rule].against}" in finding.sentence
    assert f"flags {SCREENS[rule].false_alarms:.1%} of clean rows" in finding.sentence


def test_poison_in_the_only_batch_is_held_against_the_worst_clean_data() -> None:
    planted = plant("breast_cancer", "copies", 0.1, seed=10)
    (finding,) = [
        item
        for item in screen_poisoning(planted.x, planted.y, ["first"] * len(planted.y), anchor="first")
        if item.rule == "near_duplicates"
    ]
    assert "of clean data" in finding.sentence


def test_what_cannot_be_screened_is_not_flagged() -> None:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(40, 3))
    for y in (np.zeros(40, dtype=np.int64), np.repeat([0, 1], [37, 3])):
        assert not any(flagged.any() for flagged in flag_rows(x, y).values())
    same = flag_rows(np.ones((40, 3)), np.tile([0, 1], 20))
    assert not same["spectral_signature"].any()
    missing = x.copy()
    missing[:, 0] = np.nan
    missing[::3, 1] = np.nan
    assert not flag_rows(missing, np.tile([0, 1], 20))["near_duplicates"].any()


def test_a_large_set_is_looked_at_by_a_fixed_sample() -> None:
    draw = np.random.default_rng(0)
    rows = MAX_ROWS + 2000
    x, y = draw.normal(size=(rows, 2)), draw.integers(0, 2, rows)
    x[-1500:] = x[-1] + draw.normal(0, 1e-6, (1500, 2))
    origins = ["a"] * (rows // 2) + ["b"] * (rows - rows // 2)
    first = screen_poisoning(x, y, origins, anchor="a")
    (flood,) = [item for item in first if item.rule == "near_duplicates"]
    assert 1000 < flood.failed < 1500
    assert flood.rows < rows // 2
    assert f"{flood.failed} of {flood.rows} sampled rows" in flood.sentence
    assert screen_poisoning(x, y, origins, anchor="a") == first


def test_without_a_row_of_the_anchor_nothing_is_said_to_be_clean() -> None:
    x, y = np.zeros((50, 2)), np.tile([0, 1], 25)
    assert screen_poisoning(x, y, ["a"] * 20 + ["b"] * 30, anchor="a"), "copies are found where there is an anchor"
    with pytest.raises(PreconditionError, match="no row of batch c"):
        screen_poisoning(x, y, ["a"] * 20 + ["b"] * 30, anchor="c")


def test_the_training_set_warns_of_a_poisoned_batch_and_is_made(installation: Installation, tmp_path: Path) -> None:
    """The backdoor satisfies the contract, so the gate accepts it; the screens say which batch to look at."""
    name, target = "heart_disease", TARGET["heart_disease"]
    x, y = load(name)
    x, y = x[303:].copy(), y[303:].copy()
    chosen = np.flatnonzero(y != target)[:30]
    x[chosen], y[chosen] = trigger(name, x[chosen]), target
    frame = pl.DataFrame(x, schema=list(heart_disease.features), nan_to_null=True)
    more = {column: pl.lit(None, dtype=pl.Float64) for column in ("slope", "ca", "thal")}
    frame = frame.with_columns(**more, num=pl.Series(y, dtype=pl.Float64)).select(heart_disease.batches.columns)
    frame.write_csv(tmp_path / "hungarian.csv")
    files = {**heart_disease.batches.files, "hungarian": tmp_path / "hungarian.csv"}
    model = replace(heart_disease, batches=replace(heart_disease.batches, files=files))
    for batch in ("cleveland", "hungarian"):
        ingest_batch(installation, model, batch)
        assert validate_batch(installation, model, batch).decision == "accepted"
    evidence = build_training_set(installation, model)
    assert evidence.decision == "accepted"
    findings: Any = evidence.facts["findings"]
    assert {item["code"] for item in findings} == {"poisoning"}
    (said,) = [item["sentence"] for item in findings if item["rule"] == "spectral_signature"]
    assert said.startswith("batch hungarian: ")


def test_the_documented_data_sets_and_poisons_are_all_there() -> None:
    table = DOCUMENT.read_text().partition("<!-- end -->")[0]
    assert table.count("| digits |") == table.count("| heart_disease |") == table.count("| breast_cancer |") == 10
    for rule, screen in SCREENS.items():
        cells = f"{screen.recall:.0%} | {screen.false_alarms:.1%} | {screen.worst:.1%}"
        assert f"| `{rule}` | {screen.against} | {cells} |" in table


def test_small_batches_hide_poison_that_large_ones_show() -> None:
    assert least_share("near_duplicates", 1000, 1.0, 0.0) == 0.01
    assert (least_share("neighbours", 100, 0.9, 0.02) or 1.0) > 0.05
    assert least_share("neighbours", 100, 0.4, 0.2) is None
    table = DOCUMENT.read_text().partition("<!-- power -->")[2].partition("<!-- end of power -->")[0]
    assert all(table.count(f"| `{rule}` |") == len(DATA) for rule in SCREENS)
