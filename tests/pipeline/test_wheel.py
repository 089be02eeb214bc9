"""An inference host: the wheel with the extra `serve` alone, in an environment of its own, serves a release."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.installed_home import PATIENT, Service

ROOT = Path(__file__).parents[2]


def test_an_inference_host_needs_neither_dagster_nor_mlflow_nor_evidently(
    ready: dict[str, str], tmp_path: Path
) -> None:
    source = tmp_path / "source"
    shutil.copytree(ROOT / "secure_ml", source / "secure_ml", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path / "dist"), str(source)],
        check=True,
        capture_output=True,
    )
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    templates = {str(path.relative_to(ROOT)) for path in (ROOT / "secure_ml").rglob("templates/*")}
    assert "secure_ml/validation_docs/templates/base.html" in templates
    assert templates <= packed
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    locked = re.findall(r"^([A-Za-z0-9_.-]+==[^ \\]+)", (ROOT / "requirements.lock").read_text(), flags=re.MULTILINE)
    (tmp_path / "constraints.txt").write_text("\n".join(locked))
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "host")], check=True)
    python = str(tmp_path / "host" / "bin" / "python")
    subprocess.run(
        [
            *[python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"],
            *["-c", str(tmp_path / "constraints.txt"), f"{wheel}[serve]"],
        ],
        check=True,
        capture_output=True,
        timeout=500,
        env=alone,
    )
    listed = subprocess.run(
        [python, "-m", "pip", "list"], check=True, capture_output=True, text=True, env=alone
    ).stdout.lower()
    for absent in ("dagster", "mlflow", "evidently", "scikit-learn", "skops"):
        assert not re.search(rf"^{absent}", listed, flags=re.MULTILINE), f"{absent} was installed"
    (tmp_path / "keys" / "signer.pem").unlink()
    process = subprocess.Popen(
        [str(tmp_path / "host" / "bin" / "secure-ml"), "serve", "heart_disease", "--port", "0"],
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**alone, **ready},
    )
    assert process.stderr is not None
    said = process.stderr.readline()
    try:
        assert said.startswith("serving heart_disease release 1 on http"), said + process.stderr.read()
        service = Service(process, said.rsplit(" on ", 1)[1].strip())
        status, answer = service.post("/predict", PATIENT)
        assert status == 200
        assert answer["predictions"][0]["label"] in ("absent", "present")
    finally:
        process.terminate()
        process.wait(timeout=30)
        process.stderr.close()


def test_a_hash_that_differs_stops_the_set_up(tmp_path: Path) -> None:
    lock = (ROOT / "requirements.lock").read_text()
    block = re.search(r"^six==.*?(?=^\S)", lock, flags=re.MULTILINE | re.DOTALL)
    assert block is not None
    (tmp_path / "good.lock").write_text(block.group())
    (tmp_path / "bad.lock").write_text(re.sub(r"sha256:[0-9a-f]{8}", "sha256:00000000", block.group()))
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--require-hashes",
        "-d",
        str(tmp_path / "got"),
        "-r",
    ]
    good = subprocess.run([*command, str(tmp_path / "good.lock")], capture_output=True, text=True)
    assert good.returncode == 0, good.stderr
    bad = subprocess.run([*command, str(tmp_path / "bad.lock")], capture_output=True, text=True)
    assert bad.returncode != 0
    assert "DO NOT MATCH THE HASHES" in bad.stderr


def test_the_lock_names_no_index_and_hashes_everything() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock
    assert "--index" not in lock
    assert "--find-links" not in lock
    for entry in re.split(r"\n(?=\S)", lock.strip()):
        assert "==" in entry.splitlines()[0]
        assert "--hash=sha256:" in entry, entry.splitlines()[0]


def test_the_set_up_of_the_makefile_requires_hashes() -> None:
    recipe = (ROOT / "Makefile").read_text()
    assert "--require-hashes -r requirements.lock" in recipe
