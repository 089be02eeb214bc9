"""What every command shares: how it is declared, its exit codes, and how it says what it found."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any, Protocol

__all__ = ["ACCEPTED", "ENVIRONMENT", "REJECTED", "UNUSABLE", "AddCommand", "Run", "counted", "plain", "say"]

ACCEPTED, REJECTED, UNUSABLE = 0, 1, 2

ENVIRONMENT = """\
environment:
  SECURE_ML_HOME    where state lives (default: .secure_ml/ in the working directory)
  SECURE_ML_SIGNER  private key, file2:/absolute/path.pem (default: ~/.config/secure_ml/signer.pem)
  SECURE_ML_TRUST   trust root, a folder with keys/*.pem (default: ~/.config/secure_ml/trust)
  SECURE_ML_POLICY  production (default), or experiment: warns where production blocks, and releases nothing

exit codes: 0 accepted or done, 1 rejected, 2 unreadable, unavailable or wrong use"""

Run = Callable[[argparse.Namespace], int]


class AddCommand(Protocol):
    """Declares one command; `--json` and the environment's description come by themselves."""

    def __call__(self, name: str, run: Run, text: str, more: str) -> argparse.ArgumentParser:
        """Add command `name`: `text` in the list of commands, `text` and `more` in its own help."""


def say(chosen: argparse.Namespace, document: dict[str, Any], lines: list[str], sentence: str) -> None:
    """Print the result on standard output, as lines or as one JSON document, and one sentence on standard error."""
    if chosen.json:
        print(json.dumps(document, ensure_ascii=False, default=str))
    else:
        for line in lines:
            print(plain(line))
    print(plain(sentence), file=sys.stderr)


def plain(text: str) -> str:
    """Return `text` without control characters: names of files in the home may be meant for the terminal."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def counted(count: int, what: str) -> str:
    """Return a number of things in words: `1 row`, `2 rows`."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
