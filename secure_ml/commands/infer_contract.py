"""`secure-ml infer-contract`: write a first contract from a file, for a person to edit and keep in git."""

from __future__ import annotations

import argparse
from pathlib import Path

from secure_ml.commands.csv_options import add_csv_options, csv_options
from secure_ml.commands.output import ACCEPTED, AddCommand, counted, say

__all__ = ["add"]


def add(command: AddCommand) -> None:
    """Declare the command."""
    infer = command(
        "infer-contract",
        _infer_contract,
        "Infer a data contract from a file and print it as Python.",
        "Edit the contract and keep it in git. It has domains, ranges, presence and uniqueness, each with its\n"
        "evidence as a comment, and FILE satisfies it. Values of FILE appear in the contract: name personal columns.",
    )
    infer.add_argument("file", metavar="FILE", type=Path, help="a Parquet, CSV, JSON lines or Arrow file")
    infer.add_argument("--name", help="name of the contract (default: the name of the file)")
    infer.add_argument(
        "--personal", metavar="COLUMN", action="append", default=[], help="use only counts of this column; repeatable"
    )
    add_csv_options(infer)


def _infer_contract(args: argparse.Namespace) -> int:
    from secure_ml.contracts.authoring.infer import infer_contract, may_be_key
    from secure_ml.errors import MalformedError
    from secure_ml.profiles.profiling import profile_table
    from secure_ml.tables.data_files import open_table
    from secure_ml.tables.queries import fetch
    from secure_ml.tables.type_inference import infer_types

    opened = open_table(args.file, **csv_options(args))
    if not args.columns and all(map(_is_number, opened.columns)):
        raise MalformedError(
            f"{args.file.name}: the first line has only numbers, expected column names; name the --columns"
        )
    opened = infer_types(opened)
    table = opened.table
    profile = profile_table(opened, personal=args.personal)
    candidates = [column.name for column in profile.columns if may_be_key(column) and not column.distinct_exact]
    unique = []
    for name in candidates:
        (counts,) = fetch(opened, table.aggregate(values=table[name].count(), different=table[name].nunique()))
        if counts["values"] == counts["different"]:
            unique.append(name)
    name = args.name or args.file.stem
    source = infer_contract(profile, name=name, dtypes=opened.dtypes, unique=unique)
    document = {"ok": True, "contract": source, "profile": profile.digest, "rows": profile.rows}
    sentence = f"{name}: inferred from {counted(profile.rows, 'row')}; read it before you rely on it"
    say(args, document, source.splitlines(), sentence)
    return ACCEPTED


def _is_number(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True
