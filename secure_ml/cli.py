"""The command `secure-ml`.

Exit codes: 0 accepted, verified or done, 1 rejected by a contract, a signature or a policy, 2 unreadable, unavailable
or wrong use. Results are printed on standard output, and one sentence for people on standard error.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Sequence

from secure_ml.commands import (
    check,
    completion,
    contract,
    dataset,
    infer_contract,
    log,
    profile,
    quarantine,
    serve,
    status,
    validate,
    validation_docs,
    verify,
)
from secure_ml.commands.output import ENVIRONMENT, REJECTED, UNUSABLE, Run, plain
from secure_ml.errors import RejectedError, SecureMLError

__all__ = ["main"]

# The groups of the list of commands in `secure-ml --help`.
_GROUPS = {
    "files and contracts": (validate, infer_contract, contract, profile),
    "data of a model": (dataset, quarantine, validation_docs),
    "models": (check, status, verify),
    "service": (serve, log),
    "shell": (completion,),
}
_SUMMARY = "Guarded models: contracts, signed evidence, releases, and a service that serves only verified releases."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parser = _parser()
    if "_ARGCOMPLETE" in os.environ:
        completion.complete(parser)
    args = parser.parse_args(arguments)
    run: Run = args.run
    try:
        return run(args)
    except RejectedError as error:
        return _fail(args, error, REJECTED)
    except SecureMLError as error:
        return _fail(args, error, UNUSABLE)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNUSABLE
    finally:
        if arguments is not None:
            # The caller's process goes on. Objects that a command froze must be visible to its collector again, or
            # DuckDB's module is never freed and nanobind reports leaks at exit.
            gc.unfreeze()


def _fail(args: argparse.Namespace, error: SecureMLError, code: int) -> int:
    if args.json:
        import json

        print(json.dumps({"ok": False, "error": type(error).__name__, "reason": str(error)}))
    print(plain(f"secure-ml {args.command}: {error}"), file=sys.stderr)
    return code


class _GroupedParser(argparse.ArgumentParser):
    """The parser of `secure-ml`. Its help lists the commands in groups, which argparse cannot do."""

    groups: dict[str, list[tuple[str, str]]]

    def format_help(self) -> str:
        """Return the help text."""
        width = max(len(name) for rows in self.groups.values() for name, _ in rows)
        lists = [
            "\n".join([f"{title}:", *(f"  {name:<{width}}  {summary}" for name, summary in rows)])
            for title, rows in self.groups.items()
        ]
        usage = f"usage: {self.prog} [-h] COMMAND ..."
        more = f"{self.prog} COMMAND --help describes one command."
        return "\n\n".join([usage, _SUMMARY, *lists, more, ENVIRONMENT]) + "\n"


def _parser() -> argparse.ArgumentParser:
    parser = _GroupedParser(prog="secure-ml")
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND", parser_class=argparse.ArgumentParser
    )
    parser.groups = {title: [] for title in _GROUPS}
    for title, modules in _GROUPS.items():

        def command(name: str, run: Run, summary: str, details: str, *, title: str = title) -> argparse.ArgumentParser:
            parser.groups[title].append((name, summary))
            added = commands.add_parser(
                name,
                help=summary,
                description=f"{summary}\n\n{details}",
                epilog=ENVIRONMENT,
                formatter_class=argparse.RawDescriptionHelpFormatter,
            )
            added.add_argument("--json", action="store_true", help="print one JSON document instead of text")
            added.set_defaults(run=run)
            return added

        for module in modules:
            module.add(command)
    return parser


if __name__ == "__main__":
    sys.exit(main())
