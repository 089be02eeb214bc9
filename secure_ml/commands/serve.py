"""`secure-ml serve`: serve the released model over HTTP."""

from __future__ import annotations

import argparse
import os

from secure_ml.commands.output import ACCEPTED, AddCommand

__all__ = ["add"]


def add(command: AddCommand) -> None:
    """Declare the command."""
    serve = command(
        "serve",
        _serve,
        "Serve the released model over HTTP (Open Inference Protocol, /predict, /metrics).",
        "The service starts only on a release that verifies, and switches to a newer one while it runs. It stops\n"
        "serving if one byte of the release changes. It needs no signing key.",
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
        raise argparse.ArgumentTypeError(f"expected 0 to 65535, found {port}")
    return port


def _serve(args: argparse.Namespace) -> int:
    from secure_ml.installation import Installation
    from secure_ml.serving.app import serve

    installation = Installation.for_verification(os.environ)
    serve(
        installation.home,
        installation.trust,
        args.model,
        host=args.host,
        port=args.port,
        unsafe_expose_without_authentication=args.unsafe_expose_without_authentication,
    )
    return ACCEPTED
