"""A second, tiny model in a user's own package goes through the whole graph; the platform is not changed for it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.own_model import environment_with, install
from tests.support import environment_in

ROOT = Path(__file__).parents[2]


def test_a_users_own_model_goes_through_the_whole_graph(tmp_path: Path) -> None:
    site = install(tmp_path)
    environment = environment_with(site, environment_in(tmp_path))

    def call(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", *command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
        )

    checked = call("secure_ml.cli", "check", "tiny")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    run = call("assets", "run", "tiny")
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-3000:]
    assert "tiny: release 1 serves model" in run.stdout
    assert "no drift: 3 distributions compared" in run.stdout
    verified = call("secure_ml.cli", "verify", "tiny", "--json")
    assert verified.returncode == 0, verified.stderr
    assert json.loads(verified.stdout)["release"] == 1
    status = json.loads(call("secure_ml.cli", "status", "tiny", "--json").stdout)["models"]["tiny"]
    assert {stage for stage, decisions in status["stages"].items() if decisions} >= {
        *("dataset", "validated_dataset", "training_set", "trained_model"),
        *("signed_model", "release", "inference_log", "drift_report"),
    }
    assert all(item["decision"] == "accepted" for decisions in status["stages"].values() for item in decisions)


def test_check_says_what_a_definition_lacks(tmp_path: Path) -> None:
    site = install(tmp_path)
    path = site / "my_package" / "tiny.py"
    broken = path.read_text().replace("min_roc_auc=0.7", "min_roc_auc=0.4").replace("first.csv", "gone.csv")
    path.write_text(
        broken.replace(
            '"x": pa.Column(pl.Float64, pa.Check.in_range(-10, 10))',
            '"x": pa.Column(pl.Float64, pa.Check(lambda d: d))',
        )
    )
    found = subprocess.run(
        [sys.executable, "-m", "secure_ml.cli", "check", "tiny"],
        env=environment_with(site, environment_in(tmp_path)),
        capture_output=True,
        text=True,
    )
    assert found.returncode == 1, found.stderr
    assert "a dummy model would pass" in found.stdout
    assert "no such file" in found.stdout
    assert "cannot be held against one request row" in found.stdout


def test_a_dummy_classifier_fails_the_quality_gate(tmp_path: Path) -> None:
    site = install(tmp_path)
    path = site / "my_package" / "tiny.py"
    dummy = path.read_text().replace(
        "from sklearn.linear_model import LogisticRegression", "from sklearn.dummy import DummyClassifier"
    )
    path.write_text(
        dummy.replace(
            "return LogisticRegression(random_state=seed)", 'return DummyClassifier(strategy="prior")'
        ).replace("sklearn.linear_model._logistic.LogisticRegression", "sklearn.dummy.DummyClassifier")
    )
    run = subprocess.run(
        [sys.executable, "-c", _DUMMY],
        env=environment_with(site, environment_in(tmp_path)),
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert "holdout ROC AUC 0.500 is below 0.700" in run.stdout
    assert "gain of 0.000 over a dummy classifier" in run.stdout


_DUMMY = """
import numpy as np
from secure_ml.spec import find_model
from secure_ml.training.fitting import fit, judge
model = find_model("tiny")
draw = np.random.default_rng(0)
x = draw.normal(size=(300, 2))
y = (x.sum(axis=1) > 0).astype(np.int64)
fitted = fit(model, x[:200], y[:200], x[200:], y[200:])
print("; ".join(judge(fitted.evaluation, model.quality)))
"""
