"""What the README shows is run: each command of it, as it stands there."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from assets.__main__ import prepare_dagster
from secure_ml.installation import Installation
from tests.installed_home import replace_file, serving
from tests.readme_model import README

ROOT = Path(__file__).parents[2]
BLOCKS = [text for kind, text in re.findall(r"```(\w*)\n(.*?)```", README.read_text(), flags=re.DOTALL) if not kind]
LINES = [
    line for block in BLOCKS for line in block.replace(",\n", ",").splitlines() if line and not line.startswith("#")
]


def shown(start: str) -> list[str]:
    found = [line for line in LINES if line.startswith(start)]
    assert found, f"the README shows no line that starts with {start}"
    return found


def call(line: str, environment: dict[str, str], home_of_user: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run one line of the README; what `make` installs stands where the tests were started from."""
    words = shlex.split(line.partition("  #")[0])
    words[0] = str(Path(sys.executable).parent / Path(words[0]).name)
    inherited = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"}
    settings = {**inherited, **environment, **({"HOME": str(home_of_user)} if home_of_user else {})}
    return subprocess.run(words, cwd=ROOT, env=settings, capture_output=True, text=True, timeout=300)


# What it shows of `tiny` is run by test_own_model.
@pytest.mark.parametrize("line", [line for line in shown(".venv/bin/secure-ml ") if "tiny" not in line])
def test_each_command_shown_does_what_it_is_shown_for(line: str, ready: dict[str, str]) -> None:
    done = call(line, ready)
    assert done.returncode == 0, done.stderr
    assert done.stdout + done.stderr
    documented = call(f"{line} --json", ready)
    assert json.loads(documented.stdout)["ok"] is True


def test_the_request_shown_is_answered(ready: dict[str, str]) -> None:
    (line,) = shown("curl ")
    with serving(ready) as service:
        words = shlex.split(line.replace("http://127.0.0.1:8080", service.address))
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    (prediction,) = json.loads(done.stdout)["predictions"]
    assert 0.5 <= prediction["confidence"] <= 1


def test_dg_launch_materializes_a_batch_as_shown(environment: dict[str, str]) -> None:
    place = Installation.from_environment(environment)
    prepare_dagster(place)
    (line,) = shown(".venv/bin/dg launch")
    done = call(line, {**environment, "DAGSTER_HOME": str(place.home.dagster)})
    assert done.returncode == 0, done.stderr[-3000:]
    status = call(".venv/bin/secure-ml status heart_disease --json", environment)
    stages = json.loads(status.stdout)["models"]["heart_disease"]["stages"]
    (batch,) = stages["validated_dataset"]
    assert (batch["batch"], batch["decision"]) == ("cleveland", "accepted")
    assert stages["release"][0]["decision"] == "accepted"


def test_another_verifier_of_the_standard_accepts_the_release(ready: dict[str, str]) -> None:
    folder = json.loads(call(".venv/bin/secure-ml verify heart_disease --json", ready).stdout)["folder"]
    (line,) = shown(".venv/bin/python -m model_signing")
    line = line.replace("FOLDER", folder)
    assert "~/.config/secure_ml/trust/keys/signer.pem" in line
    (key,) = Path(ready["SECURE_ML_TRUST"], "keys").glob("*.pem")
    line = line.replace("~/.config/secure_ml/trust/keys/signer.pem", str(key))
    done = call(line, ready)
    assert done.returncode == 0, done.stdout + done.stderr
    path = Path(folder, "model.onnx")
    replace_file(path, path.read_bytes()[:-1])
    assert call(line, ready).returncode != 0


def test_the_git_hook_shown_lets_no_broken_batch_be_committed(tmp_path: Path) -> None:
    (hook,) = re.findall(
        r"```sh\n(#!/bin/sh\ngit diff.*?)```", (ROOT / "docs/contracts.md").read_text(), flags=re.DOTALL
    )
    command = tmp_path / ".venv" / "bin" / "secure-ml"
    command.parent.mkdir(parents=True)
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m secure_ml.cli "$@"\n')
    (tmp_path / "orders_contract.py").write_text(
        "import pandera.polars as pa\nimport polars as pl\n"
        'orders = pa.DataFrameSchema({"x": pa.Column(pl.Int64, pa.Check.le(10))}, name="orders")\n'
    )
    (tmp_path / "data").mkdir()

    def git(*arguments: str) -> subprocess.CompletedProcess[str]:
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(["git", *who, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True)

    assert git("init", "--quiet").returncode == 0
    path = tmp_path / ".git" / "hooks" / "pre-commit"
    path.parent.mkdir(exist_ok=True)
    path.write_text(hook)
    for script in (command, path):
        script.chmod(0o755)
    for name, row, committed in (("good.csv", "3", True), ("bad name.csv", "99", False)):
        (tmp_path / "data" / name).write_text(f"x\n{row}\n")
        git("add", "data")
        done = git("commit", "--quiet", "-m", name)
        assert (done.returncode == 0) == committed, done.stderr
    assert "1 of 1 rows above 10" in done.stdout + done.stderr


def test_make_targets_in_the_readme_exist() -> None:
    text = README.read_text()
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"`?make ([a-z]+)", text))
    assert {"run", "test", "ui"} <= named <= targets
