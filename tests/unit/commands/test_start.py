"""What a start costs, and what it does not import."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from secure_ml.cli import main

ROOT = Path(__file__).parents[3]
HEAVY = ("mlflow", "evidently", "sklearn", "torch", "sigstore")


def test_loading_the_definitions_imports_nothing_heavy() -> None:
    code = f"import sys, assets.definitions; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr[-2000:]


def test_the_service_imports_no_platform() -> None:
    heavy = (*HEAVY[:4], "pandera", "polars", "dagster", "pandas", "duckdb", "scipy")
    code = f"import sys, secure_ml.serving.app; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr[-2000:]


def test_help_imports_no_library() -> None:
    heavy = ("argcomplete", "cryptography", "dataclasses", "json", "polars", "rich")
    code = f"""if True:
        import sys, secure_ml.cli
        try:
            secure_ml.cli.main(["--help"])
        except SystemExit:
            print([name for name in {heavy} if name in sys.modules])
        """
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip().endswith("\n[]"), done.stdout[-500:] + done.stderr[-2000:]


def test_help_costs_less_than_half_a_second_of_cpu() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([str(Path(sys.executable).parent / "secure-ml"), "--help"], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5


@pytest.mark.parametrize(
    "command",
    [
        *("check", "validate", "infer-contract", "contract", "verify", "serve", "status", "quarantine", "log"),
        *("completion", "dataset", "profile", "validation-docs"),
    ],
)
def test_each_command_has_a_help_that_suffices(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    said = capsys.readouterr().out
    for part in ("usage:", "--json", "SECURE_ML_HOME", "exit codes:"):
        assert part in said


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["validate"],
        ["serve", "m", "--port", "70000"],
        ["log", "m", "--last", "0"],
        ["serve", "m", "--port", "x"],
    ],
)
def test_wrong_use_is_exit_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["check", "verify", "serve", "log", "status"])
def test_an_unknown_model_is_one_sentence_and_exit_2(
    command: str, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    code = main([command, "no_such_model"])
    out, err = capsys.readouterr()
    assert len(err.strip().splitlines()) == 1
    assert code == 2, out + err


def test_a_command_called_in_process_leaves_nothing_frozen(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("n\n1\n")
    (tmp_path / "contract.py").write_text(
        "import pandera.polars as pa\nschema = pa.DataFrameSchema({'n': pa.Column(int)})\n"
    )
    code = (
        "import gc, sys, duckdb, ibis.backends.duckdb\n"
        "from secure_ml.cli import main\n"
        f"code = main(['validate', {str(tmp_path / 'contract.py')!r}, {str(tmp_path / 'table.csv')!r}])\n"
        "print(code, gc.get_freeze_count())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split()[-2:] == ["0", "0"], done.stderr[-2000:]
    assert "leaked" not in done.stderr, "nanobind reports a leak at exit"
