"""Options of commands that read a CSV file without a model that describes it."""

from __future__ import annotations

import argparse
from typing import Any

from secure_ml.errors import PreconditionError

__all__ = ["add_csv_options", "csv_options"]


def add_csv_options(command: argparse.ArgumentParser) -> None:
    """Declare the options that say how to read a CSV file."""
    command.add_argument("--columns", metavar="A,B,...", help="column names of a CSV file without a header")
    command.add_argument(
        "--null",
        metavar="TEXT",
        action="append",
        default=[],
        help="a CSV cell that means missing, such as NA; repeatable",
    )


def csv_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return the keyword arguments for `open_table`.

    Raises:
        PreconditionError: If a column name is empty.
    """
    columns = None if args.columns is None else tuple(name.strip() for name in args.columns.split(","))
    if columns is not None and "" in columns:
        raise PreconditionError("--columns: expected names with commas between them, found one that is empty")
    return {"columns": columns, "null": ("", *args.null)}
