"""`secure-ml check`: list the problems of a model's definition before anything runs."""

from __future__ import annotations

import argparse

from secure_ml.commands.output import ACCEPTED, REJECTED, AddCommand, counted, say

__all__ = ["add"]


def add(command: AddCommand) -> None:
    """Declare the command."""
    check = command(
        "check",
        _check,
        "Check a model's definition before it runs.",
        "Reads the batches, lists the sources, checks that each source has the signed manifest that it requires, and\n"
        "creates one untrained classifier. It trains nothing, verifies no signature and writes nothing.",
    )
    check.add_argument("model", metavar="MODEL", help="a registered model")


def _check(args: argparse.Namespace) -> int:
    from secure_ml.conformance import check_model
    from secure_ml.spec import find_model

    findings = list(check_model(find_model(args.model)))
    verdict = f"{counted(len(findings), 'problem')} to fix" if findings else "ready to run"
    document = {"ok": not findings, "model": args.model, "findings": findings}
    say(args, document, findings, f"{args.model}: {verdict}")
    return REJECTED if findings else ACCEPTED
