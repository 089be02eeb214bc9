"""A terminal of 80 columns and 24 lines in which a command runs."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import termios
from pathlib import Path

import pyte

ROOT = Path(__file__).parents[1]
COLUMNS, LINES = 80, 24


def open_terminal() -> tuple[int, int]:
    """Return the controlling and the controlled descriptor of a new terminal."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    return controller, terminal


def run_in_terminal(command: list[str], environment: dict[str, str]) -> tuple[int, list[str]]:
    """Run a command in a terminal, and return its exit code and the lines of the last screen."""
    controller, terminal = open_terminal()
    settings = {**environment, "TERM": "xterm-256color"}
    settings.pop("NO_COLOR", None)
    process = subprocess.Popen(command, cwd=ROOT, env=settings, stdin=terminal, stdout=terminal, stderr=terminal)
    os.close(terminal)
    screen = pyte.Screen(COLUMNS, LINES)
    stream = pyte.ByteStream(screen)
    try:
        while data := os.read(controller, 65536):
            stream.feed(data)
    except OSError:
        pass  # Linux reports the end of the terminal as an error
    os.close(controller)
    return process.wait(timeout=60), [line.rstrip() for line in screen.display]
