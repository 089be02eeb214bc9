"""The options of commands that read a text file without a model that says how."""

from __future__ import annotations

import argparse
from typing import Any

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
    """Return what `open_table` has to know."""
    return {
        "columns": tuple(chosen.columns.split(",")) if chosen.columns else None,
        "null": ("", *chosen.null),
    }
