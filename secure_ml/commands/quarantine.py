"""`secure-ml quarantine`: list refused batches and windows, and release or discard them."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from secure_ml.commands.output import ACCEPTED, AddCommand, say

if TYPE_CHECKING:
    from secure_ml.home import Home
    from secure_ml.quarantine.entries import QuarantineEntry

__all__ = ["add"]

_DETAILS = """\
quarantine list [MODEL]                       all refusals, and the decisions about them
quarantine show [MODEL] ID                    reasons, contract, decision, and the paths of the failing rows
quarantine release [MODEL] ID --why TEXT      validate again under a changed contract, and go on if it accepts
quarantine discard [MODEL] ID --why TEXT      never use the batch; this is final

Failing rows and refused bytes contain personal data. The command prints their paths, and never their contents. These
files are not signed. A decision is signed. --by, or the user of the operating system, names the person who decides.
A name proves no identity: the signer's key does."""
_UNSIGNED = (
    "warning: the files in this folder are not signed, and anyone who can write the home can change them; "
    "the evidence is signed, and it holds digests only"
)


def add(command: AddCommand) -> None:
    """Declare the command."""
    quarantine = command(
        "quarantine", _quarantine, "Show refused batches, and release or discard them with a signed reason.", _DETAILS
    )
    quarantine.add_argument("action", choices=["list", "show", "release", "discard"], help="what to do")
    quarantine.add_argument("model", metavar="MODEL", nargs="?", help="a registered model")
    quarantine.add_argument("id", metavar="ID", nargs="?", help="first characters of an id from the list")
    quarantine.add_argument(
        "--by", metavar="NAME", help="the person who decides (default: the operating system's user)"
    )
    quarantine.add_argument(
        "--in-use",
        action="store_true",
        help="discard a batch even if it is accepted, in training or released",
    )
    quarantine.add_argument("--why", metavar="TEXT", help="the reason, one line; required for release and discard")


def _quarantine(args: argparse.Namespace) -> int:
    from secure_ml.errors import PreconditionError

    if args.in_use and args.action != "discard":
        raise PreconditionError(f"quarantine {args.action}: --in-use is an option of discard only; leave it out")
    if args.action == "list":
        return _list(args)
    if not args.model:
        raise PreconditionError(f"quarantine {args.action}: no ID, expected one as quarantine list prints it")
    if not args.id:
        args.model, args.id = _find_model(args.action, args.model), args.model
    if args.action == "show":
        return _show(args)
    if not args.why:
        raise PreconditionError(f"quarantine {args.action}: no reason; add --why TEXT, which is signed")
    return _decide(args)


def _list(args: argparse.Namespace) -> int:
    from secure_ml.evidence import EvidenceLog
    from secure_ml.installation import Installation
    from secure_ml.quarantine.entries import entries
    from secure_ml.quarantine.folder import FINDINGS_FILE

    installation = Installation.for_verification(os.environ)
    home = installation.home
    documents: list[dict[str, Any]] = []
    for model in _models(home) if args.model is None else [args.model]:
        signed = entries(EvidenceLog(home, installation.trust, model))
        documents += [_document(home, entry) for entry in signed]
        ids = {entry.refusal.cause for entry in signed}
        for path in sorted((home.quarantine / model).glob(f"*/{FINDINGS_FILE}")):
            if path.parent.name not in ids:
                reason = "no signed evidence of this refusal; it is not an entry"
                names = {"id": path.parent.name, "model": model, "state": "unsigned", "said": "unsigned"}
                documents.append({**names, "reasons": [reason]})
    lines = [
        f"{item['id'][:12]}  {item['said']:<9}  {item['model']}  {item.get('batch') or item.get('stage') or ''}  "
        f"{item['reasons'][0]}"
        for item in documents
    ]
    waiting = sum(item["state"] == "open" for item in documents)
    say(args, {"ok": True, "quarantine": documents}, lines, f"{len(documents)} in quarantine, {waiting} undecided")
    return ACCEPTED


def _models(home: Home) -> list[str]:
    folders = (home.evidence, home.quarantine)
    return sorted({path.name for folder in folders for path in folder.glob("*") if path.is_dir()})


def _find_model(action: str, identity: str) -> str:
    """Return the model that has an entry with this prefix of its id."""
    from secure_ml.errors import PreconditionError
    from secure_ml.evidence import EvidenceLog
    from secure_ml.installation import Installation
    from secure_ml.quarantine.entries import entries

    installation = Installation.for_verification(os.environ)
    models = [
        model
        for model in _models(installation.home)
        if any(entry.refusal.cause.startswith(identity) for entry in entries(EvidenceLog.open(installation, model)))
    ]
    if len(models) != 1:
        raise PreconditionError(
            f"quarantine {action}: expected one model with an entry of this id, found {len(models)}; "
            "give MODEL and ID, as quarantine list prints them"
        )
    return models[0]


def _show(args: argparse.Namespace) -> int:
    from secure_ml.evidence import EvidenceLog
    from secure_ml.installation import Installation
    from secure_ml.operations.quarantine_decisions import find_entry
    from secure_ml.quarantine.entries import entries
    from secure_ml.quarantine.folder import ROWS_FILE
    from secure_ml.tables.csv_output import CSV_NOTE

    installation = Installation.for_verification(os.environ)
    entry = find_entry(entries(EvidenceLog.open(installation, args.model)), args.model, args.id)
    document = _document(installation.home, entry)
    lines = [
        f"{name}: {value}"
        for name, value in document.items()
        if name not in ("reasons", "findings", "decision") and value is not None
    ]
    lines += [f"reason: {reason}" for reason in document["reasons"]]
    lines += [f"{name}: {value}" for name, value in (document["decision"] or {}).items()]
    if document["failing_rows"] or document["refused_bytes"]:
        document["warnings"] = [_UNSIGNED]
        if document["failing_rows"]:
            document["warnings"].append(f"note: in {ROWS_FILE}, {CSV_NOTE}")
        lines += document["warnings"]
    say(args, {"ok": True, **document}, lines, f"{entry.state_text}: {len(document['reasons'])} reasons")
    return ACCEPTED


def _decide(args: argparse.Namespace) -> int:
    import getpass

    from secure_ml.errors import PreconditionError
    from secure_ml.installation import Installation
    from secure_ml.operations.quarantine_decisions import discard_entry, release_entry
    from secure_ml.spec import find_model
    from secure_ml.validation_docs import write_own_docs

    installation = Installation.from_environment(os.environ)
    model = find_model(args.model)
    try:
        person = args.by or getpass.getuser()
    except (KeyError, OSError, ImportError):
        raise PreconditionError("--by: the operating system gives no user name; name the person who decides") from None
    if args.action == "release":
        decision = release_entry(installation, model, args.id, decided_by=person, reason=args.why)
    else:
        decision = discard_entry(installation, model, args.id, decided_by=person, reason=args.why, in_use=args.in_use)
    write_own_docs(installation)
    inputs = decision.inputs
    document = {"ok": True, "document": str(decision.path), "made_at": decision.made_at, **inputs}
    names = ("action", "batch", "version", "refused_under", "released_under", "by", "why")
    lines = [f"{name}: {inputs[name]}" for name in names if inputs.get(name)]
    done = "is released and validated" if args.action == "release" else "is discarded for good"
    sentence = f"{args.model}: {inputs.get('batch') or 'the window'} {done}; signed: {decision.path}"
    say(args, document, lines, sentence)
    return ACCEPTED


def _document(home: Home, entry: QuarantineEntry) -> dict[str, Any]:
    """Return the signed facts of an entry, and the paths of its files."""
    from secure_ml.quarantine.folder import BYTES_FILE, ROWS_FILE

    refusal = entry.refusal
    folder = home.quarantine / refusal.model / refusal.cause
    rows, refused = folder / ROWS_FILE, folder / BYTES_FILE
    alarm, findings = refusal.facts.get("alarm"), refusal.facts.get("findings")
    details = [item for item in findings if isinstance(item, dict)] if isinstance(findings, list) else []
    blocking = [str(item.get("sentence")) for item in details if item.get("tier") == "block"]
    reasons = list(refusal.reasons) or (alarm if isinstance(alarm, list) else blocking)
    decision = None
    if entry.decision is not None:
        names = ("action", "by", "why", "refused_under", "released_under")
        decision = {name: entry.decision.inputs[name] for name in names if name in entry.decision.inputs}
        decision |= {"decided_at": entry.decision.made_at, "document": str(entry.decision.path)}
    return {
        "id": refusal.cause,
        "state": entry.state,
        "said": entry.state_text,
        "model": refusal.model,
        "stage": refusal.stage,
        "kept": entry.scope,
        "batch": refusal.inputs.get("batch"),
        "dataset": refusal.inputs.get("version"),
        "contract": refusal.inputs.get("contract"),
        "policy": refusal.inputs.get("policy"),
        "rows": refusal.facts.get("rows"),
        "refused_rows": refusal.facts.get("refused_rows"),
        "refused_at": refusal.made_at,
        "reasons": reasons or ["no reason is on record"],
        "findings": details,
        "decision": decision,
        "evidence": str(refusal.path),
        "folder": str(folder),
        "failing_rows": str(rows) if rows.exists() else None,
        "came_from": refusal.facts.get("source"),
        "bytes": refusal.facts.get("bytes"),
        "refused_bytes": str(refused) if refused.exists() else None,
    }
