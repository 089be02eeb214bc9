"""A second, tiny model in a user's own package goes through the whole graph; the platform is not changed for it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.installed_home import environment_in, serving
from tests.readme_model import environment_with, install, rows

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


def test_the_main_job_says_what_a_trainer_raised_and_ends_with_it(tmp_path: Path) -> None:
    site = install(tmp_path)
    path = site / "my_package" / "tiny.py"
    raising = "raise KeyError('no such setting') from None" + "\n    "
    path.write_text(path.read_text().replace("from sklearn", raising + "from sklearn", 1))
    run = subprocess.run(
        [sys.executable, "-m", "assets", "run", "tiny"],
        cwd=ROOT,
        env=environment_with(site, environment_in(tmp_path)),
        capture_output=True,
        text=True,
        timeout=300,
    )
    said = "trained_model failed: KeyError: 'no such setting'"
    assert run.returncode == 1
    assert [line for line in run.stdout.splitlines() if line.endswith(said)], run.stdout + run.stderr[-2000:]
    last = run.stderr.splitlines()[-1]
    assert last == f"error: tiny: nothing is released; the last that stopped it: batch first: {said}"


def test_the_main_job_ends_with_why_the_last_batch_was_refused(tmp_path: Path) -> None:
    site = install(tmp_path)
    path = site / "my_package" / "first.csv"
    path.write_text(rows(60, seed=9, shift=90.0))
    run = subprocess.run(
        [sys.executable, "-m", "assets", "run", "tiny"],
        cwd=ROOT,
        env=environment_with(site, environment_in(tmp_path)),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 1
    last = run.stderr.splitlines()[-1]
    assert last.startswith("error: tiny: nothing is released; the last that stopped it: batch first: refused by ")
    assert "x: 60 of 60 rows" in last, last


def test_after_a_change_of_the_definition_all_batches_are_validated_before_anything_is_trained(tmp_path: Path) -> None:
    site = install(tmp_path)
    environment = environment_with(site, environment_in(tmp_path))
    inbox = tmp_path / "home" / "inbox" / "tiny"
    inbox.mkdir(parents=True)
    (inbox / "second.csv").write_text(rows(200, seed=2))
    run_script(_BOTH, environment)
    path = site / "my_package" / "tiny.py"
    path.write_text(path.read_text().replace("random_state=seed", "random_state=seed, C=0.5"))
    assert "validated under another version of the model's definition" in run_script(_FIRST, environment)["said"]
    run = subprocess.run(
        [sys.executable, "-m", "assets", "run", "tiny"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-3000:]
    assert "tiny: release 1 serves model" in run.stdout
    assert "refused by" not in run.stdout, run.stdout


def test_a_dummy_classifier_fails_the_quality_gate_and_is_never_signed(tmp_path: Path) -> None:
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
    said = run_script(_DUMMY, environment_with(site, environment_in(tmp_path)))
    assert "holdout ROC AUC 0.500 is below 0.700" in said["train"]
    assert "gain of 0.000 over a dummy classifier" in said["train"]
    assert said["sign"] == said["train"], "the next stage refuses for the same reason"


def test_a_drift_alarm_retrains_a_candidate_and_only_the_promotion_rule_moves_it_on(tmp_path: Path) -> None:
    site = install(tmp_path)
    path = site / "my_package" / "tiny.py"
    text = path.read_text().replace("import Batches, ", "import Batches, Drift, ")
    path.write_text(text.replace('    name="tiny",', '    name="tiny",\n    drift=Drift(response="retrain"),'))
    environment = environment_with(site, environment_in(tmp_path))
    inbox = tmp_path / "home" / "inbox" / "tiny"
    inbox.mkdir(parents=True)
    (inbox / "second.csv").write_text(rows(300, seed=2, shift=3.0))
    run_script(_RELEASE, environment)
    with serving(environment, "tiny") as service:
        for line in rows(60, seed=3, shift=3.0).splitlines()[1:]:
            x, y, _ = line.split(",")
            assert service.post("/predict", {"x": float(x), "y": float(y)})[0] == 200
    said = run_script(_ALARM, environment)
    assert said["alarm"] == "rejected"
    assert said["response"] == "retrain"
    assert said["candidate"] != said["champion"]
    assert said["released_after_the_alarm"] == said["champion"]
    assert said["decided_on"] == said["candidate"], "the promotion rule was asked about the candidate"
    assert said["answered_again"] == said["answer"]


def run_script(script: str, environment: dict[str, str]) -> dict[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", _IMPORTS + script],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


_IMPORTS = """
import json, os
from secure_ml.errors import SecureMLError
from secure_ml.releases import current_release
from secure_ml.installation import Installation
from secure_ml.spec import find_model
from secure_ml.stages.dataset import ingest_batch
from secure_ml.stages.drift_report import report_drift
from secure_ml.operations.drift_response import respond_to_drift
from secure_ml.stages.inference_log import seal_log
from secure_ml.stages.release import decide_release
from secure_ml.stages.signed_model import sign
from secure_ml.stages.trained_model import train
from secure_ml.stages.training_set import build_training_set
from secure_ml.stages.validated_dataset import validate_batch
place, model = Installation.from_environment(os.environ), find_model("tiny")
"""
_DUMMY = """
ingest_batch(place, model, "first")
validate_batch(place, model, "first")
build_training_set(place, model)
said = {}
for stage in (train, sign):
    try:
        stage(place, model)
        said[stage.__name__] = "accepted"
    except SecureMLError as error:
        said[stage.__name__] = str(error)
print(json.dumps(said))
"""
_BOTH = """
for batch in ("first", "second"):
    ingest_batch(place, model, batch)
    validate_batch(place, model, batch)
print("{}")
"""
_FIRST = """
validate_batch(place, model, "first")
try:
    build_training_set(place, model)
except SecureMLError as error:
    print(json.dumps({"said": str(error)}))
"""
_RELEASE = """
ingest_batch(place, model, "first")
validate_batch(place, model, "first")
for stage in (build_training_set, train, sign, decide_release):
    stage(place, model)
print("{}")
"""
_ALARM = """
ingest_batch(place, model, "second")
validate_batch(place, model, "second")
seal_log(place, model)
report = report_drift(place, model)
champion = current_release(place.home, place.trust, "tiny").model_digest
answer = respond_to_drift(place, model)
after = current_release(place.home, place.trust, "tiny").model_digest
decision, _ = decide_release(place, model)
print(json.dumps({
    "alarm": report.decision, "response": answer.inputs["response"], "candidate": answer.inputs["candidate"],
    "champion": champion, "released_after_the_alarm": after, "decided_on": decision.inputs["model"],
    "answer": answer.document, "answered_again": respond_to_drift(place, model).document,
}))
"""
