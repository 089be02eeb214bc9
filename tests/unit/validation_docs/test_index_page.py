"""The index of the validation docs over a long history: nothing is left out without a word."""

from __future__ import annotations

from pathlib import Path

from secure_ml.digests import digest_of
from secure_ml.evidence import Evidence
from secure_ml.validation_docs.index_page import render_index
from secure_ml.validation_docs.state import Validation, ValidationState


def validation(number: int, *, blocked: bool) -> Validation:
    cause, sentence = digest_of(number), f"x: {number + 1} of 900 rows below 0"
    evidence = Evidence(
        model="long",
        stage="validated_dataset",
        cause=cause,
        decision="rejected" if blocked else "accepted",
        reasons=(sentence,) if blocked else (),
        subjects={},
        inputs={"batch": f"batch_{number:04}", "policy": "production"},
        facts={"rows": 900, "findings": []},
        made_at=f"2026-01-01T{number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}+00:00",
        document=cause,
        path=Path(f"{cause}.json"),
    )
    return Validation("home", evidence, None)


def index_of(*validations: Validation) -> str:
    return render_index(ValidationState(("home",), validations, ()))[0].decode()


def test_a_short_history_is_shown_as_it_is() -> None:
    page = index_of(*(validation(number, blocked=number < 10) for number in range(30)))
    assert "<details>" not in page
    assert all(f"batch_{number:04}" in page for number in range(30))


def test_of_a_long_history_the_failing_and_newest_stand_first_and_the_rest_can_be_opened() -> None:
    page = index_of(*(validation(number, blocked=number % 10 == 0) for number in range(200)))
    assert "Blocked now (20)" in page
    assert "10 more blocked batches" in page
    assert "160 more batches" in page
    cards, _, table = page.partition("All environments")
    assert cards.index("long: batch_0190") < cards.index("10 more blocked batches") < cards.index("long: batch_0090")
    shown, _, folded = table.partition("160 more batches")
    assert all(f"batch_{number:04}</a>" in shown for number in (0, 190, 199)), "what blocks, and the newest"
    assert "batch_0151</a>" in folded
    assert "batch_0151</a>" not in shown
    assert all(f"batch_{number:04}" in page for number in range(200))
    assert len(page) < 150_000


def test_what_is_left_out_of_a_very_long_history_is_counted() -> None:
    page = index_of(*(validation(number, blocked=False) for number in range(500)))
    assert "480 more batches" in page
    assert "280 more are listed in the JSON version of this page." in page
