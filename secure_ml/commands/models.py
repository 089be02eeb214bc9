"""`check`: what a model's definition lacks."""

from __future__ import annotations

import argparse

from secure_ml.commands.saying import ACCEPTED, REJECTED, AddCommand, counted, say

__all__ = ["add"]


def add(command: AddCommand) -> None:
    """Declare the commands of this file."""
    check = command(
        "check",
        _check,
        "Say what a model's definition lacks.",
        "Reads its batches, lists its sources, looks whether each has the signed manifest that it requires, and makes\n"
        "one untrained classifier; trains nothing, verifies no signature and writes nothing.",
    )
    check.add_argument("model", metavar="MODEL", help="a registered model")


def _check(chosen: argparse.Namespace) -> int:
    from secure_ml.conformance import check_model
    from secure_ml.spec import find_model

    found = list(check_model(find_model(chosen.model)))
    said = f"{chosen.model}: {counted(len(found), 'thing')} to mend" if found else f"{chosen.model}: ready to run"
    say(chosen, {"ok": not found, "model": chosen.model, "findings": found}, found, said)
    return REJECTED if found else ACCEPTED
