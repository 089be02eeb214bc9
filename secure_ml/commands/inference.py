"""`infer-contract` and `contract diff`: contracts that a person edits and keeps in git."""

from __future__ import annotations

import argparse
from pathlib import Path

from secure_ml.commands.reading import add_reading, reading_of
from secure_ml.commands.saying import ACCEPTED, REJECTED, AddCommand, say

__all__ = ["add"]


def add(command: AddCommand) -> None:
    """Declare the commands of this file."""
    infer = command(
        "infer-contract",
        _infer,
        "Infer a data contract from a file, and print it as Python to edit and keep in git.",
        "Domains, ranges, presence and uniqueness, each with its evidence as a comment. The file satisfies it.\n"
        "FILE is Parquet, CSV, JSON lines or Arrow; its values stand in the contract, so name personal columns.",
    )
    infer.add_argument("file", metavar="FILE", type=Path, help="a Parquet, CSV, JSON lines or Arrow file")
    infer.add_argument("--name", help="the contract's name (default: the file's)")
    infer.add_argument(
        "--personal", metavar="COLUMN", action="append", default=[], help="keep only counts of this column; repeatable"
    )
    add_reading(infer)
    contract = command(
        "contract",
        _contract,
        "Say what became stricter, looser or incompatible between two contracts.",
        "contract diff OLD NEW; exit code 0 where nothing is stricter or incompatible, else 1.\n"
        "A contract is a Python file that holds one pandera schema; it is run.",
    )
    contract.add_argument("action", choices=["diff"], help="what to do")
    contract.add_argument("old", metavar="OLD", type=Path, help="the contract before")
    contract.add_argument("new", metavar="NEW", type=Path, help="the contract after")


def _infer(chosen: argparse.Namespace) -> int:
    from secure_ml.contracts.authoring.infer import infer_contract, may_be_key
    from secure_ml.errors import MalformedError
    from secure_ml.profiles.profiling import profile_table
    from secure_ml.tables.data_files import open_table
    from secure_ml.tables.queries import fetch
    from secure_ml.tables.type_inference import with_guessed_types

    opened = open_table(chosen.file, **reading_of(chosen))
    if not chosen.columns and all(map(_is_number, opened.columns)):
        raise MalformedError(f"{chosen.file.name}: the first line holds numbers and no names; name the --columns")
    table, dtypes = with_guessed_types(opened)
    profile = profile_table(table, personal=chosen.personal)
    unsure = [column.name for column in profile.columns if may_be_key(column) and not column.distinct_exact]
    unique = []
    for name in unsure:
        (counts,) = fetch(table.aggregate(values=table[name].count(), different=table[name].nunique()))
        if counts["values"] == counts["different"]:
            unique.append(name)
    name = chosen.name or chosen.file.stem
    source = infer_contract(profile, name=name, dtypes=dtypes, unique=unique)
    document = {"ok": True, "contract": source, "profile": profile.digest, "rows": profile.rows}
    say(
        chosen,
        document,
        source.splitlines(),
        f"{name}: inferred from {profile.rows} rows; read it before you rely on it",
    )
    return ACCEPTED


def _is_number(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True


def _contract(chosen: argparse.Namespace) -> int:
    from dataclasses import asdict

    from secure_ml.contracts.authoring.diff import diff_contracts
    from secure_ml.contracts.contract_file import load_contract

    changes = diff_contracts(load_contract(chosen.old).schema, load_contract(chosen.new).schema)
    counts = {kind: sum(change.kind == kind for change in changes) for kind in ("incompatible", "stricter", "looser")}
    refuses = bool(counts["incompatible"] or counts["stricter"])
    say(
        chosen,
        {"ok": not refuses, **counts, "changes": [asdict(change) for change in changes]},
        [f"{change.kind}: {change.sentence}" for change in changes],
        ", ".join(f"{count} {kind}" for kind, count in counts.items()),
    )
    return REJECTED if refuses else ACCEPTED
