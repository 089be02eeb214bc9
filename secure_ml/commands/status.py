"""`status` and `log`: what each stage decided last, and the newest records of the inference log."""

from __future__ import annotations

import argparse
import os
from typing import Any

from secure_ml.commands.saying import ACCEPTED, AddCommand, counted, say

__all__ = ["add"]


def add(command: AddCommand) -> None:
    """Declare the commands of this file."""
    status = command("status", _status, "Show what each stage decided last.", "Every document shown was verified.")
    status.add_argument("model", metavar="MODEL", nargs="?", help="a registered model (default: all)")
    log = command(
        "log",
        _log,
        "Show the newest records of the inference log.",
        "Sealed records are verified. Personal columns (input, request id) are left out unless asked for.",
    )
    log.add_argument("model", metavar="MODEL", help="a released model")
    log.add_argument("--last", type=_count, default=20, help="how many records (default: %(default)s)")
    log.add_argument("--with-personal-columns", action="store_true", help="show inputs and request ids too")


def _count(text: str) -> int:
    count = int(text)
    if not 1 <= count <= 100_000:
        raise ValueError(text)
    return count


def _status(chosen: argparse.Namespace) -> int:
    from secure_ml.errors import UnavailableError
    from secure_ml.evidence import history
    from secure_ml.installation import Installation
    from secure_ml.releases import current_release

    place = Installation.for_verification(os.environ)
    stages = (
        *(
            "dataset",
            "source_withdrawal",
            "validated_dataset",
            "quarantine_decision",
            "training_set",
            "trained_model",
            "signed_model",
            "release",
        ),
        *("inference_log", "drift_report", "drift_response"),
    )
    folder = place.home.evidence
    models = [chosen.model] if chosen.model else sorted(path.name for path in folder.glob("*") if path.is_dir())
    document: dict[str, Any] = {"ok": True, "home": str(place.home.root), "models": {}}
    lines: list[str] = []
    for model in models:
        shown: dict[str, Any] = {"release": None, "stages": {}}
        try:
            release = current_release(place.home, place.trust, model)
            shown["release"] = {"number": release.number, "model_digest": release.model_digest}
            lines.append(f"{model}: release {release.number}, model {release.model_digest[:12]}")
        except UnavailableError:
            lines.append(f"{model}: nothing is released")
        for stage in stages:
            newest: dict[str, Any] = {}
            for evidence in history(place.home, place.trust, model, stage):
                newest[evidence.inputs.get("batch", "")] = evidence
            shown["stages"][stage] = [
                {
                    "batch": batch or None,
                    "decision": evidence.decision,
                    "reasons": list(evidence.reasons),
                    "made_at": evidence.made_at,
                }
                for batch, evidence in newest.items()
            ]
            for batch, evidence in newest.items():
                of = f"{stage} {batch}".strip()
                why = f": {evidence.reasons[0]}" if evidence.reasons else ""
                lines.append(f"  {evidence.made_at[:19]}  {of:<32} {evidence.decision}{why}")
        document["models"][model] = shown
    say(chosen, document, lines, f"{counted(len(models), 'model')} in {place.home.root}")
    return ACCEPTED


def _log(chosen: argparse.Namespace) -> int:
    from secure_ml.inference_log.segments import newest_records
    from secure_ml.installation import Installation
    from secure_ml.stages.inference_log import sealed_segments

    place = Installation.for_verification(os.environ)
    records = newest_records(place.home, chosen.model, chosen.last, sealed_segments(place, chosen.model))
    rows = [record.as_json(personal=chosen.with_personal_columns) for record in records]
    lines = ["  ".join(str(value) for value in row.values()) for row in rows]
    if rows:
        lines.insert(0, "  ".join(rows[0]))
    say(chosen, {"ok": True, "records": rows}, lines, f"{chosen.model}: the newest {len(rows)} records")
    return ACCEPTED
