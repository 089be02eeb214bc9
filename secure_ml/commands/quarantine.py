"""`quarantine`: what was refused, and what a person decides about it."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from secure_ml.commands.output import ACCEPTED, AddCommand, say

if TYPE_CHECKING:
    from secure_ml.home import Home
    from secure_ml.quarantine.entries import Entry

__all__ = ["add"]

_MORE = """\
quarantine list [MODEL]                       all that was refused, and what was decided about it
quarantine show [MODEL] ID                    reasons, contract, decision, where failing rows or refused bytes are
quarantine release [MODEL] ID --why TEXT      go on under a changed contract, which must accept it now
quarantine discard [MODEL] ID --why TEXT      never go on with it; final

Failing rows and refused bytes hold personal data: they are never printed, only where they are. A decision is signed.
The name of who decided is what --by says, or the user of the operating system: neither is a proof of identity, the
signer's key is."""


def add(command: AddCommand) -> None:
    """Declare the command."""
    quarantine = command(
        "quarantine", _quarantine, "Show what was refused, and release or discard it, with who and why.", _MORE
    )
    quarantine.add_argument("action", choices=["list", "show", "release", "discard"], help="what to do")
    quarantine.add_argument("model", metavar="MODEL", nargs="?", help="a registered model")
    quarantine.add_argument("id", metavar="ID", nargs="?", help="the first characters of an id from the list")
    quarantine.add_argument("--by", help="who decides (default: the user of the operating system)")
    quarantine.add_argument(
        "--in-use", action="store_true", help="discard also what is accepted, in a training set or in a release"
    )
    quarantine.add_argument("--why", help="why, one line; required for release and discard")


def _quarantine(args: argparse.Namespace) -> int:
    from secure_ml.errors import PreconditionError

    if args.in_use and args.action != "discard":
        raise PreconditionError("quarantine: --in-use goes with discard")
    if args.action == "list":
        return _list(args)
    if not args.model:
        raise PreconditionError(f"quarantine {args.action}: expected an ID, as quarantine list prints it")
    if not args.id:
        args.model, args.id = _find_model(args.action, args.model), args.model
    if args.action == "show":
        return _show(args)
    if not args.why:
        raise PreconditionError(f"quarantine {args.action}: --why is required; it is signed with the decision")
    return _decide(args)


def _list(args: argparse.Namespace) -> int:
    from secure_ml.evidence import EvidenceLog
    from secure_ml.installation import Installation
    from secure_ml.quarantine.entries import entries
    from secure_ml.quarantine.folder import FINDINGS_FILE

    installation = Installation.for_verification(os.environ)
    home = installation.home
    found: list[dict[str, Any]] = []
    for model in _models(home) if args.model is None else [args.model]:
        signed = entries(EvidenceLog(home, installation.trust, model))
        found += [_document(home, entry) for entry in signed]
        ids = {entry.refusal.cause for entry in signed}
        for path in sorted((home.quarantine / model).glob(f"*/{FINDINGS_FILE}")):
            if path.parent.name not in ids:
                reason = "nothing signed says that this was refused; it is no entry"
                named = {"id": path.parent.name, "model": model, "state": "unsigned", "said": "unsigned"}
                found.append({**named, "reasons": [reason]})
    lines = [
        f"{item['id'][:12]}  {item['said']:<9}  {item['model']}  {item.get('batch') or item.get('stage') or ''}  "
        f"{item['reasons'][0]}"
        for item in found
    ]
    waiting = sum(item["state"] == "open" for item in found)
    say(args, {"ok": True, "quarantine": found}, lines, f"{len(found)} in quarantine, {waiting} undecided")
    return ACCEPTED


def _models(home: Home) -> list[str]:
    folders = (home.evidence, home.quarantine)
    return sorted({path.name for folder in folders for path in folder.glob("*") if path.is_dir()})


def _find_model(action: str, identity: str) -> str:
    """Return the one model that has an entry whose id begins so."""
    from secure_ml.errors import PreconditionError
    from secure_ml.evidence import EvidenceLog
    from secure_ml.installation import Installation
    from secure_ml.quarantine.entries import entries

    installation = Installation.for_verification(os.environ)
    found = [
        model
        for model in _models(installation.home)
        if any(entry.refusal.cause.startswith(identity) for entry in entries(EvidenceLog.of(installation, model)))
    ]
    if len(found) != 1:
        raise PreconditionError(
            f"quarantine {action}: {len(found)} models have an entry whose id begins so, expected one; "
            "give MODEL and ID, as quarantine list prints them"
        )
    return found[0]


def _show(args: argparse.Namespace) -> int:
    from secure_ml.evidence import EvidenceLog
    from secure_ml.installation import Installation
    from secure_ml.operations.quarantine_decisions import find_entry
    from secure_ml.quarantine.entries import entries

    installation = Installation.for_verification(os.environ)
    entry = find_entry(entries(EvidenceLog.of(installation, args.model)), args.model, args.id)
    document = _document(installation.home, entry)
    lines = [
        f"{name}: {value}"
        for name, value in document.items()
        if name not in ("reasons", "findings", "decision") and value is not None
    ]
    lines += [f"reason: {reason}" for reason in document["reasons"]]
    lines += [f"{name}: {value}" for name, value in (document["decision"] or {}).items()]
    say(args, {"ok": True, **document}, lines, f"{entry.said}: {len(document['reasons'])} reasons")
    return ACCEPTED


def _decide(args: argparse.Namespace) -> int:
    import getpass

    from secure_ml.errors import PreconditionError
    from secure_ml.installation import Installation
    from secure_ml.operations.quarantine_decisions import discard, release
    from secure_ml.spec import find_model
    from secure_ml.validation_docs import write_own_docs

    installation = Installation.from_environment(os.environ)
    model = find_model(args.model)
    try:
        by = args.by or getpass.getuser()
    except (KeyError, OSError, ImportError):
        raise PreconditionError("--by: the operating system names no user; say who decides") from None
    if args.action == "release":
        decision = release(installation, model, args.id, by=by, why=args.why)
    else:
        decision = discard(installation, model, args.id, by=by, why=args.why, in_use=args.in_use)
    write_own_docs(installation)
    inputs = decision.inputs
    document = {"ok": True, "document": str(decision.path), "made_at": decision.made_at, **inputs}
    names = ("action", "batch", "version", "refused_under", "released_under", "by", "why")
    lines = [f"{name}: {inputs[name]}" for name in names if inputs.get(name)]
    done = "is released and validated" if args.action == "release" else "is discarded for good"
    said = f"{args.model}: {inputs.get('batch') or 'the window'} {done}; signed: {decision.path}"
    say(args, document, lines, said)
    return ACCEPTED


def _document(home: Home, entry: Entry) -> dict[str, Any]:
    """Return an entry as it is shown: what is signed, and where its files are."""
    from secure_ml.quarantine.folder import BYTES_FILE, ROWS_FILE

    refusal = entry.refusal
    folder = home.quarantine / refusal.model / refusal.cause
    rows, refused = folder / ROWS_FILE, folder / BYTES_FILE
    alarm, findings = refusal.facts.get("alarm"), refusal.facts.get("findings")
    found = [item for item in findings if isinstance(item, dict)] if isinstance(findings, list) else []
    blocking = [str(item.get("sentence")) for item in found if item.get("tier") == "block"]
    reasons = list(refusal.reasons) or (alarm if isinstance(alarm, list) else blocking)
    decision = None
    if entry.decision is not None:
        names = ("action", "by", "why", "refused_under", "released_under")
        decision = {name: entry.decision.inputs[name] for name in names if name in entry.decision.inputs}
        decision |= {"decided_at": entry.decision.made_at, "document": str(entry.decision.path)}
    return {
        "id": refusal.cause,
        "state": entry.state,
        "said": entry.said,
        "model": refusal.model,
        "stage": refusal.stage,
        "kept": entry.kept,
        "batch": refusal.inputs.get("batch"),
        "dataset": refusal.inputs.get("version"),
        "contract": refusal.inputs.get("contract"),
        "policy": refusal.inputs.get("policy"),
        "rows": refusal.facts.get("rows"),
        "refused_rows": refusal.facts.get("refused_rows"),
        "refused_at": refusal.made_at,
        "reasons": reasons or ["no reason is on record"],
        "findings": found,
        "decision": decision,
        "evidence": str(refusal.path),
        "folder": str(folder),
        "failing_rows": str(rows) if rows.exists() else None,
        "came_from": refusal.facts.get("source"),
        "bytes": refusal.facts.get("bytes"),
        "refused_bytes": str(refused) if refused.exists() else None,
    }
