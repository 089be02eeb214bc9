"""The main job as its users run it: with no way out to the network, twice, and two at once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.installed_home import environment_in
from tests.terminal import run_in_terminal
from tests.wait import until

ROOT = Path(__file__).parents[2]
RUN = [sys.executable, "-m", "assets", "run", "heart_disease"]
VERDICTS = (
    "heart_disease: release 1 serves model",
    "heart_disease/validated_dataset of batch switzerland: rejected: chol: 123 of 123 rows below 50",
    "no drift: 11 distributions compared over 59 rows",
    "49 refused with 400 (48 x chol: below 50; 1 x trestbps: below 50 and chol: below 50)",
    "drift alarm: ",
)


def environment_of(folder: Path) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"}
    return {**inherited, **environment_in(folder)}


def record_files(folder: Path) -> dict[str, tuple[int, bytes]]:
    home = folder / "home"
    parts = ("datasets", "models", "evidence", "releases", "quarantine", "reports", "log")
    return {
        str(path.relative_to(home)): (path.stat().st_mtime_ns, path.read_bytes())
        for part in parts
        for path in (home / part).rglob("*")
        if path.is_file() and ".sqlite" not in path.name
    }


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Run the main job from an empty home in a network namespace that has loopback only."""
    if not shutil.which("unshare") or not shutil.which("ip"):
        pytest.skip("needs unshare (util-linux) and ip (iproute2)")
    folder = tmp_path_factory.mktemp("offline")
    script = "ip link set lo up && ! ip route get 192.0.2.1 2>/dev/null && exec " + " ".join(RUN)
    space = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--net", "--map-root-user"]
    done = subprocess.run(
        [*space, "sh", "-c", script],
        cwd=ROOT,
        env=environment_of(folder),
        capture_output=True,
        text=True,
        timeout=500,
    )
    return folder, done


def test_the_main_job_ends_well_without_a_way_out(offline: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    _, done = offline
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    for verdict in VERDICTS:
        assert verdict in done.stdout


def test_the_private_key_is_in_no_file_of_the_home(
    offline: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, _ = offline
    key = (folder / "keys" / "signer.pem").read_text().splitlines()[1].encode()
    for path in (folder / "home").rglob("*"):
        if path.is_file():
            assert key not in path.read_bytes(), f"{path} holds the private key"


def test_a_repeated_run_trains_and_signs_nothing_anew(offline: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, _ = offline
    before = record_files(folder)
    code, screen = run_in_terminal(RUN, environment_of(folder))
    assert code == 0, screen
    assert record_files(folder) == before
    # The whole summary is on the last screen of a terminal of 80 columns and 24 lines.
    text = "\n".join(screen)
    assert "heart_disease: release 1 serves model" in text
    assert "switzerland  rejected  validated_dataset: chol: 123 of 123 rows below 50" in text
    assert "drift alarm: " in text
    assert "make ui" in text
    assert "━" not in text  # the bars are removed


def test_a_repeated_run_digests_its_inputs_again(offline: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    """A changed stored file is found by the repeated run although its size and time are as they were."""
    folder, _ = offline
    home = folder / "home"
    path = next(
        found
        for found in sorted((home / "datasets").rglob("batch.csv"))
        if found.read_bytes() == (ROOT / "secure_ml/models/heart_disease_data/processed.cleveland.data").read_bytes()
    )
    good, times = path.read_bytes(), path.stat()
    path.write_bytes(good.replace(b"63.0,1.0", b"64.0,1.0", 1))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    again = subprocess.run(RUN, cwd=ROOT, env=environment_of(folder), capture_output=True, text=True, timeout=500)
    path.write_bytes(good)
    assert "batch.csv: changed" in again.stdout


def test_two_runs_at_once_and_an_open_reader_block_nothing(tmp_path: Path) -> None:
    environment = environment_of(tmp_path)
    runs = [
        subprocess.Popen(RUN, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    lake = tmp_path / "home" / "lake" / "lake.duckdb"
    until(lambda: lake.exists() or any(run.poll() is not None for run in runs), seconds=300, every=0.2)
    reader = subprocess.Popen(
        [
            *[sys.executable, "-c"],
            "import duckdb, sys\n"
            "lake = duckdb.connect(sys.argv[1], read_only=True)\n"
            "print(lake.execute('select count(*) from records').fetchone()[0], flush=True)\n"
            "sys.stdin.read()\n"
            "print(lake.execute('select count(*) from evidence').fetchone()[0], flush=True)\n",
            str(lake),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert reader.stdout is not None
    assert int(reader.stdout.readline()) >= 0
    for run in runs:
        out, err = run.communicate(timeout=500)
        assert run.returncode == 0, out[-2000:] + err[-3000:]
        assert "heart_disease: release " in out
    final = subprocess.run(RUN, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500)
    assert final.returncode == 0, final.stdout[-2000:]
    assert reader.poll() is None
    out, _ = reader.communicate("", timeout=30)
    assert int(out) > 0
