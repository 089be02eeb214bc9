"""`secure-ml completion`: complete commands, options, models, batches and ids with the TAB key.

The shell asks `secure-ml` itself for the words, through argcomplete. Names of models and batches come from the entry
points and from the home. They are suggestions, so the documents are not verified, and a name with a character that a
shell could interpret is left out.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from secure_ml.commands.output import ACCEPTED, AddCommand

__all__ = ["add", "complete"]

_SHELLS = ("bash", "zsh", "fish")
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_MAX_DOCUMENTS = 200
_MAX_BYTES = 4 << 20
_ID_LENGTH = 12


def add(command: AddCommand) -> None:
    """Declare the command."""
    completion = command(
        "completion",
        _completion,
        "Print the script that completes secure-ml in bash, zsh or fish.",
        'bash:  eval "$(secure-ml completion bash)"         in ~/.bashrc\n'
        'zsh:   eval "$(secure-ml completion zsh)"          in ~/.zshrc, after compinit\n'
        "fish:  secure-ml completion fish | source          in ~/.config/fish/config.fish\n\n"
        "The TAB key then completes commands, options, models, batches, ids of the quarantine and files.",
    )
    completion.add_argument("shell", choices=_SHELLS, help="the shell to complete in")


def _completion(args: argparse.Namespace) -> int:
    from argcomplete.shell_integration import shellcode

    script = shellcode(["secure-ml"], shell=args.shell)
    if args.json:
        import json

        print(json.dumps({"ok": True, "shell": args.shell, "script": script}))
    else:
        print(script)
    return ACCEPTED


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer the shell's question for the words at the cursor, and end the process."""
    import argcomplete

    _set_completers(parser)
    argcomplete.autocomplete(parser)


def _set_completers(parser: argparse.ArgumentParser) -> None:
    """Attach the completer of each placeholder to the arguments that show it in the help."""
    completers: dict[object, Callable[..., Iterable[str]]] = {
        "MODEL": _models,
        "MODEL|CONTRACT.py": _models_and_contracts,
        "BATCH": _batches,
        "VERSION": _batches,
        "A": _batches,
        "B": _batches,
        "ID": _ids,
    }
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for choice in action.choices.values():
                _set_completers(choice)
        elif action.metavar in completers:
            action.completer = completers[action.metavar]  # type: ignore[attr-defined]


def _models(**_: object) -> list[str]:
    """Return the registered models, and those that have evidence in the home."""
    from importlib.metadata import entry_points

    names = set(entry_points(group="secure_ml.models").names) | set(_names_in(_home() / "evidence"))
    return sorted(name for name in names if _SAFE_NAME.fullmatch(name))


def _models_and_contracts(prefix: str, **_: object) -> list[str]:
    from argcomplete.completers import FilesCompleter

    return [*_models(), *FilesCompleter(allowednames=("py",))(prefix)]


def _batches(parsed_args: argparse.Namespace, **_: object) -> list[str]:
    """Return the batches of the model that stands before the cursor."""
    import base64
    import json

    from secure_ml.errors import SecureMLError
    from secure_ml.safe_files import read_file

    folder = _home() / "evidence" / parsed_args.model / "dataset"
    batches = set()
    for name in _names_in(folder)[:_MAX_DOCUMENTS]:
        try:
            envelope = json.loads(read_file(folder / name, max_bytes=_MAX_BYTES))
            statement = json.loads(base64.b64decode(envelope["payload"]))
            batches.add(str(statement["predicate"]["inputs"]["batch"]))
        except (SecureMLError, ValueError, KeyError, TypeError):
            continue  # a file that is not evidence suggests nothing
    return sorted(name for name in batches if _SAFE_NAME.fullmatch(name))


def _ids(parsed_args: argparse.Namespace, **_: object) -> list[str]:
    """Return the first characters of the quarantine ids of the model that stands before the cursor."""
    return [name[:_ID_LENGTH] for name in _names_in(_home() / "quarantine" / parsed_args.model)]


def _names_in(folder: Path) -> list[str]:
    """Return the names in a folder, without those that a shell could interpret."""
    try:
        return sorted(path.name for path in folder.iterdir() if _SAFE_NAME.fullmatch(path.name))
    except OSError:
        return []


def _home() -> Path:
    return Path(os.environ.get("SECURE_ML_HOME") or ".secure_ml")
