"""`dataset`: the versions of a model's datasets, and the signed manifest of a source."""

from __future__ import annotations

import argparse
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from secure_ml.commands.output import ACCEPTED, ENVIRONMENT, AddCommand, Run, counted, say

__all__ = ["add"]

_MAX_SHOWN = 20


def add(command: AddCommand) -> None:
    """Declare the command."""
    dataset = command(
        "dataset",
        _log,  # never by itself: an action is required, and brings its own
        "Show, compare and check out dataset versions; sign a source's manifest.",
        "A version is content-addressed and never changed. Everything shown was verified.",
    )
    actions = dataset.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, run: Run, text: str, more: str) -> argparse.ArgumentParser:
        added = actions.add_parser(
            name,
            help=text,
            description=f"{text}\n\n{more}",
            epilog=ENVIRONMENT,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        # Without a default of its own, so that it does not undo one that stands before the action.
        json_help = "print one JSON document instead of text"
        added.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help=json_help)
        added.set_defaults(run=run)
        return added

    log = action("log", _log, "List versions and refusals, oldest first.", "Every document shown was verified.")
    log.add_argument("model", metavar="MODEL", help="a model")
    log.add_argument("batch", metavar="BATCH", nargs="?", help="one batch (default: all, and training sets)")

    diff = action(
        "diff",
        _diff,
        "Say how version B differs from version A: rows, columns, profiles.",
        "Rows are matched by value, whatever their order, and named by digest; no cell is printed. At most 20 digests\n"
        "of each kind are shown, with --json at most 1,000.",
    )
    diff.add_argument("model", metavar="MODEL", help="a registered model")
    for name in ("A", "B"):
        diff.add_argument(name.lower(), metavar=name, help="first characters of a version, or a batch for its newest")

    checkout = action(
        "checkout",
        _checkout,
        "Write the verified files of a version into a new folder.",
        "One changed byte, and nothing is written. A folder that is there is never written to.",
    )
    checkout.add_argument("model", metavar="MODEL", help="a model")
    checkout.add_argument("version", metavar="VERSION", help="first characters of a version, or a batch for its newest")
    checkout.add_argument("folder", metavar="FOLDER", type=Path, help="a folder that is not there yet")

    sign = action(
        "sign-manifest",
        _sign_manifest,
        "Sign which batches a source has, and with which bytes.",
        "Lists each batch of FOLDER (NAME.csv, .parquet, .arrow, .jsonl) with its SHA-256 in manifest.dsse.json,\n"
        "signed by SECURE_ML_SIGNER. Who takes the batches in puts the public key into sources/NAME/keys/ of its\n"
        "trust root: there it signs for this source and nothing else.",
    )
    sign.add_argument("folder", metavar="FOLDER", type=Path, help="a folder of batches")
    sign.add_argument(
        "--source", required=True, metavar="NAME", help="the source's name in the model's file, or inbox.MODEL"
    )
    sign.add_argument("--output", type=Path, metavar="FILE", help="where to write (default: FOLDER/manifest.dsse.json)")


def _log(args: argparse.Namespace) -> int:
    from secure_ml.installation import Installation
    from secure_ml.operations.dataset_versions import list_versions

    found = list_versions(Installation.for_verification(os.environ), args.model, args.batch)
    rows: list[dict[str, Any]] = []
    lines: list[str] = []
    for version in found:
        evidence, manifest = version.evidence, version.manifest
        rows.append(
            {
                "version": version.id,
                "stage": evidence.stage,
                "batch": version.batch,
                "made_at": evidence.made_at,
                "decision": evidence.decision,
                "reasons": list(evidence.reasons),
                "files": dict(evidence.subjects),
                "manifest": asdict(manifest) if manifest else None,
            }
        )
        said = evidence.reasons[0] if evidence.reasons else ""
        if manifest is not None:
            said = f"{manifest.rows} rows, from {manifest.origin}"
            said += "".join(
                f", {name} {digest[:12]}"
                for name, digest in (("contract", manifest.contract), ("profile", manifest.profile))
                if digest
            )
            said += "".join(f", after {parent[:12]}" for parent in manifest.parents)
        said += ", sent again" if evidence.stage == "dataset" and "follows" in evidence.inputs else ""
        of = f"{evidence.stage} {version.batch or ''}".strip()
        lines.append(f"{version.id[:12]}  {evidence.made_at[:19]}  {of:<32} {evidence.decision:<8}  {said}".rstrip())
    say(
        args,
        {"ok": True, "model": args.model, "versions": rows},
        lines,
        f"{args.model}: {counted(len(found), 'version')}",
    )
    return ACCEPTED


def _diff(args: argparse.Namespace) -> int:
    from secure_ml.installation import Installation
    from secure_ml.operations.dataset_versions import compare
    from secure_ml.spec import find_model

    model = find_model(args.model)
    before, after, difference, distances = compare(Installation.for_verification(os.environ), model, args.a, args.b)
    lines = [f"rows: {difference.rows[0]} before, {difference.rows[1]} after"]
    lines += [f"rows added: {difference.added}", f"rows removed: {difference.removed}"]
    for sign, digests in (("+", difference.added_digests), ("-", difference.removed_digests)):
        lines += [f"{sign} {digest}" for digest in digests[:_MAX_SHOWN]]
        if len(digests) > _MAX_SHOWN:
            lines.append(f"{sign} and {len(digests) - _MAX_SHOWN} more with --json")
    for said, names in (
        ("added", difference.columns_added),
        ("removed", difference.columns_removed),
        ("of another type", difference.columns_retyped),
    ):
        lines += [f"column {said}: {name}" for name in names]
    if distances is None:
        lines.append("profiles: not compared, one of the two has none")
    for distance in distances or ():
        if distance.value > distance.bound:
            lines.append(
                f"profile of {distance.column}: {distance.measure} {distance.value:.4f} ± {distance.bound:.4f}"
            )
    document = {
        "ok": True,
        "model": model.name,
        "a": before.id,
        "b": after.id,
        **asdict(difference),
        "profile": None if distances is None else [asdict(distance) for distance in distances],
    }
    sentence = f"{difference.added} rows added, {difference.removed} removed"
    say(args, document, lines, f"{model.name}: {before.id[:12]} to {after.id[:12]}: {sentence}")
    return ACCEPTED


def _checkout(args: argparse.Namespace) -> int:
    from secure_ml.installation import Installation
    from secure_ml.operations.dataset_versions import checkout

    installation = Installation.for_verification(os.environ)
    version, files = checkout(installation, args.model, args.version, args.folder)
    lines = [f"{version.evidence.subjects[name]}  {args.folder / name}" for name in files]
    document = {
        "ok": True,
        "model": args.model,
        "version": version.id,
        "folder": str(args.folder),
        "files": dict(version.evidence.subjects),
    }
    say(args, document, lines, f"{args.model}: version {version.id[:12]} verified and written to {args.folder}")
    return ACCEPTED


def _sign_manifest(args: argparse.Namespace) -> int:
    from secure_ml.datasets.source_manifest import sign_manifest
    from secure_ml.datasets.sources import LocalFolder
    from secure_ml.datasets.sources.names import MANIFEST_FILE
    from secure_ml.digests import sha256
    from secure_ml.errors import PreconditionError
    from secure_ml.installation import Installation
    from secure_ml.safe_files import replace_file

    source = LocalFolder(args.folder)
    files = {Path(source.place(name)).name: sha256(source.fetch(name, max_bytes=2 << 30)) for name in source.names()}
    installation = Installation.from_environment(os.environ)
    signer = installation.signer()
    public = installation.trust.key_file(signer.keyid)
    path = args.output or args.folder / MANIFEST_FILE
    try:
        replace_file(path, sign_manifest(args.source, files, signer))
    except OSError as error:
        raise PreconditionError(f"{path}: cannot be written ({error.strerror})") from None
    document = {
        "ok": True,
        "source": args.source,
        "manifest": str(path),
        "key": signer.keyid,
        "public_key": str(public),
        "files": files,
    }
    lines = [f"{digest}  {name}" for name, digest in files.items()]
    lines.append(f"public key, for sources/{args.source}/keys/ of the trust root of who takes these in: {public}")
    say(
        args,
        document,
        lines,
        f"{path}: {counted(len(files), 'file')} of {args.source}, signed by key {signer.keyid}",
    )
    return ACCEPTED
