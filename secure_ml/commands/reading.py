"""The options of commands that read a text file without a model that says how."""

from __future__ import annotations

import argparse
from typing import Any

from secure_ml.errors import PreconditionError

__all__ = ["add_reading", "reading_of"]


def add_reading(command: argparse.ArgumentParser) -> None:
    """Declare how a CSV file is read."""
    command.add_argument("--columns", metavar="A,B,...", help="the columns of a CSV file that has no line of names")
    command.add_argument(
        "--null",
        metavar="TEXT",
        action="append",
        default=[],
        help="a cell that means missing in CSV, as NA; repeatable",
    )


def reading_of(chosen: argparse.Namespace) -> dict[str, Any]:
    """Return what `open_table` has to know.

    Raises:
        PreconditionError: A column without a name.
    """
    columns = None if chosen.columns is None else tuple(name.strip() for name in chosen.columns.split(","))
    if columns is not None and "" in columns:
        raise PreconditionError("--columns: expected names with commas between them, found one that is empty")
    return {"columns": columns, "null": ("", *chosen.null)}
