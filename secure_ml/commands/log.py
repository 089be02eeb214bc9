"""`secure-ml log`: show the newest records of a model's inference log."""

from __future__ import annotations

import argparse
import os

from secure_ml.commands.output import ACCEPTED, AddCommand, say

__all__ = ["add"]

_MAX_RECORDS = 100_000


def add(command: AddCommand) -> None:
    """Declare the command."""
    log = command(
        "log",
        _log,
        "Show the newest records of the inference log.",
        "Sealed records are verified. The personal columns (inputs and request id) are left out by default.",
    )
    log.add_argument("model", metavar="MODEL", help="a released model")
    log.add_argument("--last", type=_count, default=20, metavar="N", help="number of records (default: %(default)s)")
    log.add_argument("--with-personal-columns", action="store_true", help="show the inputs and request ids too")


def _count(text: str) -> int:
    count = int(text)
    if not 1 <= count <= _MAX_RECORDS:
        raise argparse.ArgumentTypeError(f"expected 1 to {_MAX_RECORDS}, found {count}")
    return count


def _log(args: argparse.Namespace) -> int:
    from secure_ml.inference_log.segments import newest_records
    from secure_ml.installation import Installation
    from secure_ml.stages.inference_log import sealed_segments

    installation = Installation.for_verification(os.environ)
    segments = sealed_segments(installation, args.model)
    records = newest_records(installation.home, args.model, args.last, segments)
    rows = [record.as_json(personal=args.with_personal_columns) for record in records]
    lines = ["  ".join(str(value) for value in row.values()) for row in rows]
    if rows:
        lines.insert(0, "  ".join(rows[0]))
    say(args, {"ok": True, "records": rows}, lines, f"{args.model}: the newest {len(rows)} records")
    return ACCEPTED
