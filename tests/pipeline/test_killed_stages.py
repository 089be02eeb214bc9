"""SIGKILL of every stage in the middle of writing, 20 times each: the next start works, and nothing is half written."""

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


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_that_is_killed_while_it_writes_leaves_nothing_half(stage: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.pipeline.kill_stages", stage, str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["writes"] >= 3
    assert found["killed"] == 20
