"""Exit codes of the commands, and the functions that print their results."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any, Protocol

__all__ = ["ACCEPTED", "ENVIRONMENT", "REJECTED", "UNUSABLE", "AddCommand", "Run", "counted", "plain", "say"]

ACCEPTED, REJECTED, UNUSABLE = 0, 1, 2

ENVIRONMENT = """\
environment:
  SECURE_ML_HOME    folder of all state (default: .secure_ml/ in the working directory)
  SECURE_ML_SIGNER  private key, file2:/absolute/path.pem (default: ~/.config/secure_ml/signer.pem)
  SECURE_ML_TRUST   trust root, a folder with keys/*.pem (default: ~/.config/secure_ml/trust)
  SECURE_ML_POLICY  production (default), or experiment, which warns instead of blocking and releases nothing

exit codes: 0 accepted or done, 1 rejected, 2 unreadable, unavailable or wrong use"""

Run = Callable[[argparse.Namespace], int]


class AddCommand(Protocol):
    """Adds one command to the parser, with `--json` and the description of the environment."""

    def __call__(self, name: str, run: Run, summary: str, details: str) -> argparse.ArgumentParser:
        """Add the command `name`.

        The list of commands shows the summary. The command's own help shows the summary and the details.
        """


def say(args: argparse.Namespace, document: dict[str, Any], lines: list[str], sentence: str) -> None:
    """Print the result on standard output, as lines or as one JSON document, and a sentence on standard error."""
    if args.json:
        import json

        print(json.dumps(document, ensure_ascii=False, default=str))
    else:
        for line in lines:
            print(plain(line))
    print(plain(sentence), file=sys.stderr)


def plain(text: str) -> str:
    """Replace control characters, because names of files in the home may contain terminal sequences."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def counted(count: int, noun: str) -> str:
    """Return a count with its noun: `1 row`, `2 rows`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
