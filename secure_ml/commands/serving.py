"""`verify` and `serve`: the released model."""

from __future__ import annotations

import argparse
import os
from typing import Any

from secure_ml.commands.saying import ACCEPTED, AddCommand, say
from secure_ml.errors import RejectedError

__all__ = ["add"]


def add(command: AddCommand) -> None:
    """Declare the commands of this file."""
    verify = command(
        "verify",
        _verify,
        "Verify the released model, and all evidence back to the data.",
        "Reads each file once and holds it against signatures whose keys are in the trust root.",
    )
    verify.add_argument("model", metavar="MODEL", help="a released model")
    serve = command(
        "serve",
        _serve,
        "Serve the released model over HTTP (Open Inference Protocol, /predict, /metrics).",
        "Starts only on a release that verifies, swaps to a newer one, and stops serving after one changed byte.\n"
        "Needs no signing key.",
    )
    serve.add_argument("model", metavar="MODEL", help="a released model")
    serve.add_argument("--host", default="127.0.0.1", help="address to bind (default: %(default)s)")
    serve.add_argument("--port", type=_port, default=8080, help="port to bind, 0 for a free one (default: %(default)s)")
    serve.add_argument(
        "--unsafe-expose-without-authentication",
        action="store_true",
        help="allow a --host that is not loopback; put an authenticating proxy in front",
    )


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise ValueError(text)
    return port


def _verify(chosen: argparse.Namespace) -> int:
    from secure_ml.evidence import find, trace
    from secure_ml.installation import Installation
    from secure_ml.releases import current_release, read_released

    place = Installation.for_verification(os.environ)
    release = current_release(place.home, place.trust, chosen.model)
    files = read_released(place.home, place.trust, release)
    decision = find(place.home, place.trust, chosen.model, "release", _digest(release.inputs["cause"]))
    if decision is None or decision.document != release.inputs["evidence:release"]:
        raise RejectedError(
            f"release {release.number}: the evidence that allowed it is gone or was replaced; restore it"
        )
    chain = trace(place.home, place.trust, decision)
    folder = place.home.models / chosen.model / release.model_digest
    document = {
        "ok": True,
        "model": chosen.model,
        "release": release.number,
        "model_digest": release.model_digest,
        "folder": str(folder),
        "files": dict(release.files),
        "evidence": [str(step.path) for step in chain],
        "trust": str(place.trust.root),
    }
    lines = [f"{digest}  {name}" for name, digest in release.files.items()]
    lines += [f"{step.document}  evidence/{step.model}/{step.stage}" for step in chain]
    sentence = (
        f"{chosen.model}: release {release.number} verifies: {len(files)} files in {folder}, "
        f"{len(chain)} evidence documents back to the data"
    )
    say(chosen, document, lines, sentence)
    return ACCEPTED


def _digest(text: str) -> Any:
    from secure_ml.digests import parse_digest

    return parse_digest(text, "release")


def _serve(chosen: argparse.Namespace) -> int:
    from secure_ml.installation import Installation
    from secure_ml.serving.app import serve

    place = Installation.for_verification(os.environ)
    serve(
        place.home,
        place.trust,
        chosen.model,
        host=chosen.host,
        port=chosen.port,
        unsafe_expose_without_authentication=chosen.unsafe_expose_without_authentication,
    )
    return ACCEPTED
