"""`secure-ml verify`: verify the released model and all evidence back to the data."""

from __future__ import annotations

import argparse
import os

from secure_ml.commands.output import ACCEPTED, AddCommand, say
from secure_ml.errors import RejectedError

__all__ = ["add"]


def add(command: AddCommand) -> None:
    """Declare the command."""
    verify = command(
        "verify",
        _verify,
        "Verify the released model, and all evidence back to the data.",
        "Reads each file once and verifies its digest and signature with the keys of the trust root.",
    )
    verify.add_argument("model", metavar="MODEL", help="a released model")


def _verify(args: argparse.Namespace) -> int:
    from secure_ml.digests import parse_digest
    from secure_ml.evidence import EvidenceLog
    from secure_ml.installation import Installation
    from secure_ml.releases import current_release, read_released

    installation = Installation.for_verification(os.environ)
    home, trust = installation.home, installation.trust
    log = EvidenceLog.open(installation, args.model)
    release = current_release(home, trust, args.model)
    files = read_released(home, trust, release)
    decision = log.find("release", parse_digest(release.inputs["cause"], "release"))
    if decision is None or decision.document != release.inputs["evidence:release"]:
        raise RejectedError(
            f"release {release.number}: the evidence that allowed it is missing or was replaced; restore it"
        )
    chain = log.chain(decision)
    folder = home.models / args.model / release.model_digest
    document = {
        "ok": True,
        "model": args.model,
        "release": release.number,
        "model_digest": release.model_digest,
        "folder": str(folder),
        "files": dict(release.files),
        "evidence": [str(step.path) for step in chain],
        "trust": str(trust.root),
    }
    lines = [f"{digest}  {name}" for name, digest in release.files.items()]
    lines += [f"{step.document}  evidence/{step.model}/{step.stage}" for step in chain]
    sentence = (
        f"{args.model}: release {release.number} verifies: {len(files)} files in {folder}, "
        f"{len(chain)} evidence documents back to the data"
    )
    say(args, document, lines, sentence)
    return ACCEPTED
