"""`profile`: what is in a file, as a small document that drift and skew are measured from."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from secure_ml.commands.csv_options import add_csv_options, csv_options
from secure_ml.commands.output import ACCEPTED, AddCommand

if TYPE_CHECKING:
    from secure_ml.profiles.document import ColumnProfile

__all__ = ["add"]

_WIDTH = 24


def add(command: AddCommand) -> None:
    """Declare the command."""
    profile = command(
        "profile",
        _profile,
        "Say what is in a file, column by column, from one scan.",
        "With --json, print the profile's document, byte for byte: keep it as PROFILE.json, and give it to\n"
        "`validate --previous` or `--training`. It holds values of the file, so name personal columns.",
    )
    profile.add_argument("file", metavar="FILE", type=Path, help="a Parquet, CSV, JSON lines or Arrow file")
    profile.add_argument("--contract", metavar="CONTRACT.py", type=Path, help="type the columns as this contract says")
    profile.add_argument(
        "--personal", metavar="COLUMN", action="append", default=[], help="keep only counts of this column; repeatable"
    )
    add_csv_options(profile)


def _profile(args: argparse.Namespace) -> int:
    from secure_ml.profiles.document import render
    from secure_ml.profiles.merging import without_values
    from secure_ml.profiles.profiling import profile_table
    from secure_ml.tables.data_files import open_table
    from secure_ml.tables.type_inference import infer_types

    table = open_table(args.file, **csv_options(args))
    if args.contract:
        from secure_ml.contracts.contract_file import load_contract
        from secure_ml.contracts.engine.declared_profiles import profile_as_declared

        profile = without_values(profile_as_declared(table, load_contract(args.contract)), args.personal)
    else:
        profile = profile_table(infer_types(table), personal=args.personal)
    if args.json:
        sys.stdout.buffer.write(render(profile))
    else:
        for column in profile.columns:
            print(_line(column))
    print(f"{args.file.name}: {profile.rows} rows, profile {profile.digest}", file=sys.stderr)
    return ACCEPTED


def _line(column: ColumnProfile) -> str:
    """Say of one column what fits on one line; `~` stands before what is approximate."""
    parts = [f"{column.dtype}", f"{column.missing_fraction:.2%} missing"]
    if column.distinct is not None:
        parts.append(f"{'' if column.distinct_exact else '~'}{column.distinct} different")
    if column.kind in ("integer", "number") and column.moments is not None:
        median = dict(column.quantiles)[0.5]
        parts.append(f"{_short(column.minimum)} to {_short(column.maximum)}")
        parts.append(f"mean {_short(column.mean)}, std {_short(column.std)}")
        parts.append(f"median {'~' if column.quantile_error else ''}{_short(median)}")
    elif column.lengths is not None:
        parts.append(f"{column.lengths.minimum} to {column.lengths.maximum} long")
    if column.top and column.kind in ("text", "boolean"):
        parts.append("most frequent " + ", ".join(f"{_short(value)} ({count})" for value, count in column.top[:3]))
    return f"{column.name[:_WIDTH]!r}: {'; '.join(parts)}{' (personal)' if column.personal else ''}"


def _short(value: object) -> str:
    match value:
        case float():
            return f"{value:.6g}"
        case str():
            return repr(value[:_WIDTH])
    return str(value)
