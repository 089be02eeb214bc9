"""`secure-ml dataset`: show, compare and check out dataset versions, and sign the manifest of a source."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secure_ml.commands.output import ACCEPTED, ENVIRONMENT, AddCommand, Run, counted, say

if TYPE_CHECKING:
    from secure_ml.operations.dataset_versions import Version

__all__ = ["add"]

_MAX_SHOWN = 20


def add(command: AddCommand) -> None:
    """Declare the command."""
    dataset = command(
        "dataset",
        _log,  # never called: an action is required, and each action sets its own function
        "Show, compare and check out dataset versions, and sign a source's manifest.",
        "The id of a version is a digest of its content. Every document shown has been verified.",
    )
    actions = dataset.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, run: Run, summary: str, details: str) -> argparse.ArgumentParser:
        added = actions.add_parser(
            name,
            help=summary,
            description=f"{summary}\n\n{details}",
            epilog=ENVIRONMENT,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        # SUPPRESS: otherwise the default would overwrite a --json that stands before the action.
        json_help = "print one JSON document instead of text"
        added.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help=json_help)
        added.set_defaults(run=run)
        return added

    _add_log(action)
    _add_diff(action)
    _add_checkout(action)
    _add_sign_manifest(action)


def _add_log(action: AddCommand) -> None:
    log = action("log", _log, "List versions and refusals, oldest first.", "Every document shown has been verified.")
    log.add_argument("model", metavar="MODEL", help="a model")
    log.add_argument("batch", metavar="BATCH", nargs="?", help="one batch (default: all, and training sets)")


def _add_diff(action: AddCommand) -> None:
    diff = action(
        "diff",
        _diff,
        "Compare version B with version A: rows, columns and profiles.",
        "Rows are matched by value in any order, and printed as digests, never as cells. The list has at most 20\n"
        "digests of each kind, and at most 1,000 with --json.",
    )
    diff.add_argument("model", metavar="MODEL", help="a registered model")
    for name in ("A", "B"):
        diff.add_argument(name.lower(), metavar=name, help="first characters of a version, or a batch name")


def _add_checkout(action: AddCommand) -> None:
    checkout = action(
        "checkout",
        _checkout,
        "Write the verified files of a version into a new folder.",
        "If one byte of a file has changed, nothing is written. An existing folder is never written to.",
    )
    checkout.add_argument("model", metavar="MODEL", help="a model")
    checkout.add_argument("version", metavar="VERSION", help="first characters of a version, or a batch name")
    checkout.add_argument("folder", metavar="FOLDER", type=Path, help="a folder that does not exist yet")


def _add_sign_manifest(action: AddCommand) -> None:
    sign = action(
        "sign-manifest",
        _sign_manifest,
        "Sign a manifest of the batches of a source and their digests.",
        "The manifest, manifest.dsse.json, lists each batch of FOLDER (NAME.csv, .parquet, .arrow, .jsonl) with its\n"
        "SHA-256 and is signed by SECURE_ML_SIGNER. The receiver of the batches puts the public key into\n"
        "sources/NAME/keys/ of its trust root. There the key can sign for this source only.",
    )
    sign.add_argument("folder", metavar="FOLDER", type=Path, help="a folder of batches")
    sign.add_argument(
        "--source", required=True, metavar="NAME", help="name of the source in the model's file, or inbox.MODEL"
    )
    sign.add_argument("--output", type=Path, metavar="FILE", help="file to write (default: FOLDER/manifest.dsse.json)")


def _log(args: argparse.Namespace) -> int:
    from dataclasses import asdict

    from secure_ml.installation import Installation
    from secure_ml.operations.dataset_versions import list_versions

    versions = list_versions(Installation.for_verification(os.environ), args.model, args.batch)
    rows: list[dict[str, Any]] = []
    for version in versions:
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
    document = {"ok": True, "model": args.model, "versions": rows}
    lines = [_version_line(version) for version in versions]
    say(args, document, lines, f"{args.model}: {counted(len(versions), 'version')}")
    return ACCEPTED


def _version_line(version: Version) -> str:
    evidence, manifest = version.evidence, version.manifest
    details = evidence.reasons[0] if evidence.reasons else ""
    if manifest is not None:
        details = f"{manifest.rows} rows, from {manifest.origin}"
        for name, digest in (("contract", manifest.contract), ("profile", manifest.profile)):
            details += f", {name} {digest[:12]}" if digest else ""
        details += "".join(f", after {parent[:12]}" for parent in manifest.parents)
    details += ", sent again" if evidence.stage == "dataset" and "follows" in evidence.inputs else ""
    subject = f"{evidence.stage} {version.batch or ''}".strip()
    return f"{version.id[:12]}  {evidence.made_at[:19]}  {subject:<32} {evidence.decision:<8}  {details}".rstrip()


def _diff(args: argparse.Namespace) -> int:
    from dataclasses import asdict

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
    for change, names in (
        ("added", difference.columns_added),
        ("removed", difference.columns_removed),
        ("of another type", difference.columns_retyped),
    ):
        lines += [f"column {change}: {name}" for name in names]
    if distances is None:
        lines.append("profiles: not compared, because one version has no profile")
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
    files = {Path(source.location(name)).name: sha256(source.fetch(name, max_bytes=2 << 30)) for name in source.names()}
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
    lines.append(f"public key, for sources/{args.source}/keys/ of the receiver's trust root: {public}")
    say(
        args,
        document,
        lines,
        f"{path}: {counted(len(files), 'file')} of {args.source}, signed by key {signer.keyid}",
    )
    return ACCEPTED
