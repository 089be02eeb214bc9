"""What was refused, with the reasons and the failing rows: for people, and of no weight in any gate."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from secure_ml.contracts.findings import Report
from secure_ml.digests import Json, canonical_json, parse_json
from secure_ml.errors import PreconditionError
from secure_ml.home import Home, read_file

__all__ = ["list_quarantine", "render_quarantine", "show_quarantine"]

_FINDINGS = "findings.json"
_ROWS = "failing_rows.csv"


def render_quarantine(found: Report | Sequence[str], document: Mapping[str, str]) -> dict[str, bytes]:
    """Return the files of one quarantine folder.

    Args:
        found: The contract's report, or the reasons where there is no table.
        document: What was refused: model, stage, batch, digests.
    """
    if not isinstance(found, Report):
        return {_FINDINGS: canonical_json({**document, "reasons": list(found), "findings": []})}
    blocking = [finding for finding in found.findings if finding.tier == "block"]
    return {
        _FINDINGS: canonical_json(
            {
                **document,
                "rows": found.rows,
                "reasons": [finding.sentence for finding in blocking],
                "findings": [asdict(finding) for finding in found.findings],
            }
        ),
        _ROWS: found.failing_rows.write_csv().encode(),
    }


def list_quarantine(home: Home, model: str | None) -> list[dict[str, Any]]:
    """Return what is in quarantine, of one model or of all, by model and id.

    Raises:
        MalformedError: A document is not one.
    """
    found: list[dict[str, Any]] = []
    for path in sorted(home.quarantine.glob(f"*/*/{_FINDINGS}")):
        if model is None or path.parent.parent.name == model:
            found.append(_read(home, path.parent.parent.name, path.parent.name))
    return found


def show_quarantine(home: Home, model: str, prefix: str) -> dict[str, Any]:
    """Return one entry, by the first characters of its id.

    Raises:
        PreconditionError: None or more than one begins so.
    """
    if not re.fullmatch(r"[0-9a-f]{1,64}", prefix):
        raise PreconditionError("quarantine id: expected hexadecimal digits, as quarantine list prints them")
    found = [item for item in list_quarantine(home, model) if str(item["id"]).startswith(prefix)]
    if len(found) != 1:
        raise PreconditionError(f"quarantine id: {len(found)} entries of {model} begin so, expected one")
    return found[0]


def _read(home: Home, model: str, name: str) -> dict[str, Any]:
    folder = home.quarantine / model / name
    document: dict[str, Json] = parse_json(
        read_file(folder / _FINDINGS, max_bytes=64 << 20), f"quarantine/{model}/{name[:12]}"
    )
    rows = folder / _ROWS
    return {**document, "id": name, "folder": str(folder), "failing_rows": str(rows) if rows.exists() else None}
