"""`secure-ml validation-docs`: write pages that show the validation state of one or several homes."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from secure_ml.commands.output import ACCEPTED, AddCommand, say

__all__ = ["add"]


def add(command: AddCommand) -> None:
    """Declare the command."""
    docs = command(
        "validation-docs",
        _validation_docs,
        "Write static pages and JSON about the validations: passed, warned and blocked.",
        "Writes an index and a page for each validated version. They need no network. Several homes, such as\n"
        "experiment and production, share one index. All their evidence is verified with the trust root of\n"
        "SECURE_ML_TRUST.",
    )
    docs.add_argument(
        "--home",
        metavar="NAME=PATH",
        action="append",
        default=[],
        help="a home and its name on the pages, repeatable (default: SECURE_ML_HOME)",
    )
    docs.add_argument(
        "--out", metavar="FOLDER", type=Path, help="folder to write (default: reports/validation in SECURE_ML_HOME)"
    )


def _validation_docs(args: argparse.Namespace) -> int:
    from secure_ml.errors import PreconditionError
    from secure_ml.home import Home
    from secure_ml.installation import Installation
    from secure_ml.validation_docs import OWN_HOME, NamedHome, docs_folder, write_docs, write_own_docs

    installation = Installation.for_verification(os.environ)
    homes = [] if args.home else [NamedHome(OWN_HOME, installation.home)]
    for option in args.home:
        name, _, path = option.partition("=")
        if not path or not Path(path).is_dir():
            raise PreconditionError(f"--home: expected NAME=PATH with a folder at PATH, found {option}")
        homes.append(NamedHome(name, Home(Path(path).resolve())))
    if args.home and not args.out:
        raise PreconditionError("--home: no folder for the pages of several homes; add --out FOLDER")
    folder = args.out.resolve() if args.out else docs_folder(installation)
    state = write_docs(homes, installation.trust, folder) if args.out else write_own_docs(installation)
    index = folder / "index.html"
    document = {
        "ok": not state.unverified,
        "index": str(index),
        "validations": len(state.validations),
        "unverified": [item.problem for item in state.unverified],
    }
    lines = [str(index), *(f"does not verify: {item.problem}" for item in state.unverified)]
    say(
        args,
        document,
        lines,
        f"{len(state.validations)} validations, {len(state.unverified)} documents do not verify",
    )
    return ACCEPTED
