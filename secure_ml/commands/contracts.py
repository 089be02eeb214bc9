"""`validate`: a file against a data contract."""

from __future__ import annotations

import argparse
from pathlib import Path

from secure_ml.commands.saying import ACCEPTED, REJECTED, AddCommand, say

__all__ = ["add"]


def add(command: AddCommand) -> None:
    """Declare the commands of this file."""
    validate = command(
        "validate",
        _validate,
        "Hold a CSV file against a model's data contract.",
        "Needs no Dagster and writes nothing. Findings name column, rule and count, never a value.",
    )
    validate.add_argument("model", metavar="MODEL", help="a registered model")
    validate.add_argument("file", metavar="FILE", type=Path, help="a CSV file; a first line with names is optional")


def _validate(chosen: argparse.Namespace) -> int:
    from dataclasses import asdict

    from secure_ml.contracts.checking import check
    from secure_ml.contracts.reading import parse_batch
    from secure_ml.home import read_file
    from secure_ml.spec import find_model

    model = find_model(chosen.model)
    content = read_file(chosen.file, max_bytes=model.batches.max_bytes)
    report = check(parse_batch(content, model.batches, chosen.file.name), model)
    blocking = sum(finding.tier == "block" for finding in report.findings)
    warnings = len(report.findings) - blocking
    verdict = "accepted" if report.accepted else "rejected"
    say(
        chosen,
        {
            "ok": report.accepted,
            "model": model.name,
            "rows": report.rows,
            "findings": [asdict(finding) for finding in report.findings],
        },
        [f"{finding.tier}: {finding.sentence}" for finding in report.findings],
        f"{chosen.file.name}: {verdict}: {report.rows} rows, {blocking} blocking findings, {warnings} warnings",
    )
    return ACCEPTED if report.accepted else REJECTED
