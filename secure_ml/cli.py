"""The command `secure-ml`.

Exit codes: 0 accepted, verified or done; 1 rejected: a contract, a signature or a policy said no; 2 unreadable,
unavailable or wrong use. Results stand on standard output, one sentence for people on standard error.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence

from secure_ml.commands import (
    contracts,
    datasets,
    inference,
    models,
    profiles,
    quarantine,
    serving,
    status,
    validation_docs,
)
from secure_ml.commands.saying import ENVIRONMENT, REJECTED, UNUSABLE, Run, plain
from secure_ml.errors import RejectedError, SecureMLError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    chosen = _parser().parse_args(arguments)
    run: Run = chosen.run
    try:
        return run(chosen)
    except RejectedError as error:
        return _fail(chosen, error, REJECTED)
    except SecureMLError as error:
        return _fail(chosen, error, UNUSABLE)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNUSABLE


def _fail(chosen: argparse.Namespace, error: SecureMLError, code: int) -> int:
    if chosen.json:
        print(json.dumps({"ok": False, "error": type(error).__name__, "reason": str(error)}))
    print(plain(f"secure-ml {chosen.command}: {error}"), file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="secure-ml",
        description="Guarded models: contracts, signed evidence, releases, and the service that trusts only them.",
        epilog=ENVIRONMENT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, run: Run, text: str, more: str) -> argparse.ArgumentParser:
        added = commands.add_parser(
            name,
            help=text,
            description=f"{text}\n\n{more}",
            epilog=ENVIRONMENT,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        added.add_argument("--json", action="store_true", help="print one JSON document instead of text")
        added.set_defaults(run=run)
        return added

    for part in (models, contracts, inference, profiles, serving, status, quarantine, datasets, validation_docs):
        part.add(command)
    return parser


if __name__ == "__main__":
    sys.exit(main())
