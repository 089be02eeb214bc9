"""`secure-ml status`: show the newest decision of each stage."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from secure_ml.commands.output import ACCEPTED, AddCommand, counted, say

if TYPE_CHECKING:
    from secure_ml.evidence import Evidence
    from secure_ml.installation import Installation

__all__ = ["add"]

_STAGES = (
    "dataset",
    "source_withdrawal",
    "validated_dataset",
    "quarantine_decision",
    "training_set",
    "trained_model",
    "signed_model",
    "release",
    "inference_log",
    "drift_report",
    "drift_response",
)


def add(command: AddCommand) -> None:
    """Declare the command."""
    status = command(
        "status", _status, "Show the newest decision of each stage.", "Every document shown has been verified."
    )
    status.add_argument("model", metavar="MODEL", nargs="?", help="a registered model (default: all)")


def _status(args: argparse.Namespace) -> int:
    from secure_ml.installation import Installation

    installation = Installation.for_verification(os.environ)
    folder = installation.home.evidence
    models = [args.model] if args.model else sorted(path.name for path in folder.glob("*") if path.is_dir())
    document: dict[str, Any] = {"ok": True, "home": str(installation.home.root), "models": {}}
    lines: list[str] = []
    for model in models:
        release, line = _release(installation, model)
        lines.append(line)
        stages: dict[str, list[dict[str, Any]]] = {}
        for stage in _STAGES:
            newest = _newest(installation, model, stage)
            stages[stage] = [
                {
                    "batch": batch or None,
                    "decision": evidence.decision,
                    "reasons": list(evidence.reasons),
                    "made_at": evidence.made_at,
                }
                for batch, evidence in newest.items()
            ]
            lines += [_line(stage, batch, evidence) for batch, evidence in newest.items()]
        document["models"][model] = {"release": release, "stages": stages}
    say(args, document, lines, f"{counted(len(models), 'model')} in {installation.home.root}")
    return ACCEPTED


def _release(installation: Installation, model: str) -> tuple[dict[str, Any] | None, str]:
    """Return the current release as data and as a line."""
    from secure_ml.errors import UnavailableError
    from secure_ml.releases import current_release

    try:
        release = current_release(installation.home, installation.trust, model)
    except UnavailableError:
        return None, f"{model}: nothing is released"
    data = {"number": release.number, "model_digest": release.model_digest}
    return data, f"{model}: release {release.number}, model {release.model_digest[:12]}"


def _newest(installation: Installation, model: str, stage: str) -> dict[str, Evidence]:
    """Return the newest evidence of a stage for each batch. The batch is "" for stages without batches."""
    from secure_ml.evidence import EvidenceLog

    documents = EvidenceLog.open(installation, model).history(stage)
    return {evidence.inputs.get("batch", ""): evidence for evidence in documents}


def _line(stage: str, batch: str, evidence: Evidence) -> str:
    subject = f"{stage} {batch}".strip()
    reason = f": {evidence.reasons[0]}" if evidence.reasons else ""
    return f"  {evidence.made_at[:19]}  {subject:<32} {evidence.decision}{reason}"
