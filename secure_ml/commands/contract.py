"""`secure-ml contract diff`: compare two versions of a contract."""

from __future__ import annotations

import argparse
from pathlib import Path

from secure_ml.commands.output import ACCEPTED, REJECTED, AddCommand, say

__all__ = ["add"]


def add(command: AddCommand) -> None:
    """Declare the command."""
    contract = command(
        "contract",
        _contract,
        "Compare two contracts: which rules became stricter, looser or incompatible.",
        "contract diff OLD NEW. The exit code is 0 if no rule is stricter or incompatible, and 1 otherwise.\n"
        "A contract is a Python file with one pandera schema. The command executes both files.",
    )
    contract.add_argument("action", choices=["diff"], help="the only action today")
    contract.add_argument("old", metavar="OLD", type=Path, help="the old contract")
    contract.add_argument("new", metavar="NEW", type=Path, help="the new contract")


def _contract(args: argparse.Namespace) -> int:
    from dataclasses import asdict

    from secure_ml.contracts.authoring.diff import diff_contracts
    from secure_ml.contracts.contract_file import load_contract

    changes = diff_contracts(load_contract(args.old).schema, load_contract(args.new).schema)
    counts = {kind: sum(change.kind == kind for change in changes) for kind in ("incompatible", "stricter", "looser")}
    refuses = bool(counts["incompatible"] or counts["stricter"])
    say(
        args,
        {"ok": not refuses, **counts, "changes": [asdict(change) for change in changes]},
        [f"{change.kind}: {change.sentence}" for change in changes],
        ", ".join(f"{count} {kind}" for kind, count in counts.items()),
    )
    return REJECTED if refuses else ACCEPTED
