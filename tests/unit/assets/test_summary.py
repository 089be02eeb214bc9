"""The summary of the main job: complete in a file, one screen on a terminal."""

from __future__ import annotations

import io
import re
from collections import Counter

import pytest
from rich.console import Console

from assets.live_traffic import Traffic
from assets.progress import JobProgress
from assets.summary import BatchOutcome, Stop, Summary, print_summary
from secure_ml.installation import Installation
from secure_ml.models.heart_disease import model

REASON = "heart_disease/validated_dataset of batch b{0}: rejected: chol: 123 of 123 rows below 50; " + "x" * 200
ESCAPE = "\x1b[31m"


def summary_of(batches: int) -> Summary:
    outcomes = [BatchOutcome(f"a{number}", accepted=True) for number in range(batches)]
    outcomes += [
        BatchOutcome(f"b{number}", accepted=False, stops=(Stop("validated_dataset", REASON.format(number)),))
        for number in range(batches)
    ]
    refused = Counter({f"chol: below {number} {ESCAPE}": 9 for number in range(9)})
    traffic = [
        Traffic("rows of cleveland", answered=59, drift="no drift: 11 distributions compared over 59 rows"),
        Traffic("rows of va", answered=1, answered_before=3, refused=refused, drift="drift alarm: " + "thalach " * 30),
    ]
    return Summary(outcomes, traffic)


def render(summary: Summary, installation: Installation, *, terminal: bool) -> str:
    output = io.StringIO()
    console = Console(
        file=output, force_terminal=terminal, color_system=None, width=80 if terminal else None, highlight=False
    )
    print_summary(installation, model, summary, console)
    return output.getvalue()


@pytest.mark.parametrize("batches", [1, 3, 200])
@pytest.mark.parametrize("failures", [0, 2])
def test_the_summary_fits_a_screen_of_a_terminal(batches: int, failures: int, ready: dict[str, str]) -> None:
    summary = summary_of(batches)
    summary.failures = ["drift_response: " + "y" * 300] * failures
    lines = render(summary, Installation.from_environment(ready), terminal=True).splitlines()
    assert len(lines) <= 23
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert "heart_disease: release 1 serves model" in text
    assert "validated_dataset: chol: 123 of 123 rows below 50" in text
    assert bool(re.search(r"^and \d+ more$", text, flags=re.MULTILINE)) == (batches == 200)
    assert text.count("FAILED drift_response") == failures


def test_a_file_gets_the_summary_uncut(ready: dict[str, str]) -> None:
    text = render(summary_of(50), Installation.from_environment(ready), terminal=False)
    assert text.count("x" * 200) == 50
    assert text.count("  accepted  ") == 50
    assert "81 refused with 400 (9 x chol: below 0" in text
    assert ESCAPE not in text


def test_a_rejected_batch_is_shown_before_accepted_ones_if_room_is_short(ready: dict[str, str]) -> None:
    text = render(summary_of(200), Installation.from_environment(ready), terminal=True)
    assert "  accepted  " not in text
    assert "b0 " in text


def test_progress_in_a_file_is_plain_lines_with_the_time() -> None:
    output = io.StringIO()
    with JobProgress(Console(file=output, highlight=False)) as progress:
        progress.phase("batches", total=2)
        progress.activity("batch a: intake")
        progress.detail("batches", "batch a: validated_dataset")
        progress.message(f"batch a: [red]refused{ESCAPE} " + "z" * 200, style="red")
        progress.advance("batches")
        progress.finish("batches")
    first, second = output.getvalue().splitlines()
    assert first[2] == first[5] == ":"
    assert first[9:] == "batch a: intake"
    assert second[9:] == "batch a: [red]refused\ufffd[31m " + "z" * 200


def test_progress_on_a_terminal_shows_a_bar_and_removes_it() -> None:
    output = io.StringIO()
    with JobProgress(Console(file=output, force_terminal=True, width=80, highlight=False)) as progress:
        progress.phase("batches", total=4)
        progress.activity("batch a: intake")
        progress.detail("batches", "batch [bold]a: validated_dataset")
        progress.advance("batches")
        progress.message("batch a: accepted")
    text = output.getvalue()
    assert "batch [bold]a: validated_dataset" in text
    assert "1/4" in text
    assert "batch a: intake" not in text
    assert text.rstrip().endswith("\x1b[2K")
