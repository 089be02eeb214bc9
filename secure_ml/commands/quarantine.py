"""`quarantine`: what was refused."""

from __future__ import annotations

import argparse
import os

from secure_ml.commands.saying import ACCEPTED, AddCommand, say

__all__ = ["add"]


def add(command: AddCommand) -> None:
    """Declare the commands of this file."""
    quarantine = command(
        "quarantine",
        _quarantine,
        "Show what was refused: batches and windows, with reasons.",
        "quarantine list [MODEL] lists; quarantine show MODEL ID shows reasons and where the failing rows are.",
    )
    quarantine.add_argument("action", choices=["list", "show"], help="what to show")
    quarantine.add_argument("model", metavar="MODEL", nargs="?", help="a registered model")
    quarantine.add_argument("id", metavar="ID", nargs="?", help="the first characters of an id from the list")


def _quarantine(chosen: argparse.Namespace) -> int:
    from secure_ml.datasets.quarantine import list_quarantine, show_quarantine
    from secure_ml.errors import PreconditionError
    from secure_ml.home import Home

    home = Home.from_environment(os.environ)
    if chosen.action == "show":
        if not chosen.model or not chosen.id:
            raise PreconditionError("quarantine show: expected MODEL and ID, as quarantine list prints them")
        shown = show_quarantine(home, chosen.model, chosen.id)
        lines = [f"{name}: {value}" for name, value in shown.items() if name != "reasons"]
        lines += [f"reason: {reason}" for reason in shown["reasons"]]
        say(chosen, {"ok": True, **shown}, lines, f"{len(shown['reasons'])} reasons")
        return ACCEPTED
    found = list_quarantine(home, chosen.model)
    lines = [
        f"{item['id'][:12]}  {item['model']}  {item.get('batch') or item['stage']}  {item['reasons'][0]}"
        for item in found
    ]
    say(chosen, {"ok": True, "quarantine": found}, lines, f"{len(found)} in quarantine")
    return ACCEPTED
