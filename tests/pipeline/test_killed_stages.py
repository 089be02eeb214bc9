"""SIGKILL of every stage in the middle of writing: the next start works, and nothing is half written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

STAGES = (
    *("dataset", "validated_dataset", "training_set", "trained_model"),
    *("signed_model", "release", "inference_log", "drift_report"),
)


def kill_stages(folder: Path, times: str, *stages: str) -> dict[str, dict[str, int]]:
    command = [sys.executable, "-m", "tests.pipeline.kill_stages", str(folder), times, *stages]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, dict[str, int]] = json.loads(done.stdout.splitlines()[-1])
    assert set(found) == set(stages)
    assert all(stage["writes"] >= 3 for stage in found.values()), found
    return found


def test_a_stage_killed_before_one_drawn_write_leaves_nothing_half(tmp_path: Path) -> None:
    found = kill_stages(tmp_path, "one", *STAGES)
    assert {stage["killed"] for stage in found.values()} == {1}


@pytest.mark.soak
@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_that_is_killed_while_it_writes_leaves_nothing_half(stage: str, tmp_path: Path) -> None:
    assert kill_stages(tmp_path, "20", stage)[stage]["killed"] == 20
