"""Completion in real shells: a person types a part of a word and presses TAB."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyte
import pytest

from secure_ml.cli import main
from tests.terminal import COLUMNS, LINES, ROOT, open_terminal

SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], 'eval "$(secure-ml completion bash)"'),
    "zsh": (["zsh", "-f", "-i"], 'autoload -U compinit; compinit -u -D; eval "$(secure-ml completion zsh)"'),
    "fish": (["fish", "--no-config", "-i"], "secure-ml completion fish | source"),
}


class Shell:
    """An interactive shell in a terminal."""

    def __init__(self, controller: int) -> None:
        self.controller = controller
        self.screen = pyte.Screen(COLUMNS, LINES)
        self.stream = pyte.ByteStream(self.screen)

    def press(self, keys: str) -> None:
        os.write(self.controller, keys.encode())

    def wait_for(self, text: str, seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while text not in "\n".join(self.screen.display):
            left = deadline - time.monotonic()
            assert left > 0, f"expected {text!r}, found:\n" + "\n".join(self.screen.display)
            if select.select([self.controller], [], [], left)[0]:
                data = os.read(self.controller, 65536)
                if b"\x1b[c" in data or b"\x1b[0c" in data:
                    self.press("\x1b[?6c")  # the answer of a terminal that fish asks for its kind
                self.stream.feed(data)


@contextmanager
def running(name: str, environment: dict[str, str], folder: Path) -> Iterator[Shell]:
    command, load = SHELLS[name]
    if not shutil.which(command[0]):
        pytest.skip(f"needs {name}")
    controller, terminal = open_terminal()
    settings = {
        **environment,
        **{"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)},
        **{"HOME": str(folder), "TERM": "xterm", "LANG": "C.UTF-8"},
    }
    process = subprocess.Popen(
        ["setsid", "--ctty", *command], stdin=terminal, stdout=terminal, stderr=terminal, cwd=folder, env=settings
    )
    os.close(terminal)
    shell = Shell(controller)
    try:
        shell.press(f"{load}; echo loa''ded\n")
        shell.wait_for("loaded")
        yield shell
    finally:
        process.kill()
        process.wait()
        os.close(controller)


@pytest.mark.parametrize("name", SHELLS)
def test_tab_completes_commands_options_models_and_batches(name: str, ready: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "orders_contract.py").touch()
    with running(name, ready, tmp_path) as shell:
        shell.press("secure-ml veri\t")
        shell.wait_for("secure-ml verify ")
        shell.press("hea\t")
        shell.wait_for("secure-ml verify heart_disease")
        shell.press("\x15secure-ml dataset che\t")
        shell.wait_for("secure-ml dataset checkout ")
        shell.press("heart_disease clev\t")
        shell.wait_for("heart_disease cleveland")
        shell.press("\x15secure-ml log heart_disease --with-p\t")
        shell.wait_for("--with-personal-columns")
        shell.press("\x15secure-ml validate ord\t")
        shell.wait_for("secure-ml validate orders_contract.py")


def suggestions(line: str, environment: dict[str, str], folder: Path) -> set[str]:
    """Ask as bash asks."""
    answer = folder / "answer"
    settings = {
        **os.environ,
        **environment,
        **{"_ARGCOMPLETE": "1", "_ARGCOMPLETE_STDOUT_FILENAME": str(answer), "_ARGCOMPLETE_IFS": "\n"},
        **{"COMP_LINE": line, "COMP_POINT": str(len(line)), "PYTHONPATH": str(ROOT)},
    }
    subprocess.run([str(Path(sys.executable).parent / "secure-ml")], env=settings, check=True, cwd=folder)
    return {word.strip() for word in answer.read_text().split("\n")}


def test_ids_of_the_quarantine_are_suggested(ready: dict[str, str], tmp_path: Path) -> None:
    (Path(ready["SECURE_ML_HOME"]) / "quarantine" / "heart_disease" / ("ab" * 32)).mkdir(parents=True)
    assert suggestions("secure-ml quarantine show heart_disease ", ready, tmp_path) >= {"ab" * 6}


def test_a_hostile_name_in_the_home_is_not_suggested(ready: dict[str, str], tmp_path: Path) -> None:
    home = Path(ready["SECURE_ML_HOME"])
    for name in ("$(reboot)", "a b", "x;y", "\x1b[31mred", "-rf", "fine.name"):
        (home / "evidence" / name).mkdir()
    os.mkfifo(home / "evidence" / "heart_disease" / "dataset" / "fifo.json")
    (home / "evidence" / "heart_disease" / "dataset" / "text.json").write_text("[]")
    found = suggestions("secure-ml verify ", ready, tmp_path)
    assert {"heart_disease", "fine.name"} <= found
    assert not {word for word in found if any(letter in word for letter in "$ ;\x1b(")}
    assert suggestions("secure-ml dataset log heart_disease ", ready, tmp_path) >= {"cleveland"}


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_printed_alone(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    out, err = capsys.readouterr()
    assert "secure-ml" in out
    assert err == ""
    assert main(["completion", shell, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["script"].strip() == out.strip()


def test_the_help_lists_each_command_in_one_group(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    files = {path.stem.replace("_", "-") for path in (ROOT / "secure_ml" / "commands").glob("[a-z]*.py")}
    for name in files - {"output", "csv-options"}:
        assert text.count(f"\n  {name} ") == 1, name
    assert [line for line in text.splitlines() if line.endswith(":") and line[0] != " "] == [
        *("files and contracts:", "data of a model:", "models:", "service:", "shell:"),
        "environment:",
    ]
    assert max(map(len, text.splitlines())) <= 120
