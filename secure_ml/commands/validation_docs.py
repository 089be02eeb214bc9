"""`validation-docs`: the pages that show the validation state of one or several homes."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from secure_ml.commands.output import ACCEPTED, AddCommand, say

__all__ = ["add"]


def add(command: AddCommand) -> None:
    """Declare the commands of this command."""
    docs = command(
        "validation-docs",
        _validation_docs,
        "Write static pages, and JSON, of what passed, warned and blocked.",
        "An index and a page for each validated version, readable with no network. Several homes (experiment,\n"
        "production) go into one index; all their evidence is held against the one trust root of SECURE_ML_TRUST.",
    )
    docs.add_argument(
        "--home",
        metavar="NAME=PATH",
        action="append",
        default=[],
        help="a home and its name on the pages, repeatable (default: SECURE_ML_HOME)",
    )
    docs.add_argument(
        "--out", metavar="FOLDER", type=Path, help="where to (default: reports/validation of SECURE_ML_HOME)"
    )


def _validation_docs(args: argparse.Namespace) -> int:
    from secure_ml.errors import PreconditionError
    from secure_ml.home import Home
    from secure_ml.installation import Installation
    from secure_ml.validation_docs import OWN_HOME, NamedHome, docs_folder, write_docs, write_own_docs

    installation = Installation.for_verification(os.environ)
    places = [] if args.home else [NamedHome(OWN_HOME, installation.home)]
    for given in args.home:
        name, _, path = given.partition("=")
        if not path or not Path(path).is_dir():
            raise PreconditionError("--home: expected NAME=PATH, and a folder at PATH")
        places.append(NamedHome(name, Home(Path(path).resolve())))
    if args.home and not args.out:
        raise PreconditionError("--out: needed with --home; the pages of a home's own hold that home only")
    folder = args.out.resolve() if args.out else docs_folder(installation)
    state = write_docs(places, installation.trust, folder) if args.out else write_own_docs(installation)
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
