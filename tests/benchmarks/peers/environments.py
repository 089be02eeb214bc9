"""An environment for each peer, made once from its lock in a cache folder. Standard library only.

`NAME.in` says what is wanted, `NAME.lock` is made from it with
`uv pip compile --no-header --no-annotate --generate-hashes --python-version 3.11 -o NAME.lock NAME.in`.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

__all__ = ["interpreter"]

_FOLDER = Path(__file__).parent


def interpreter(peer: str) -> str:
    """Return the Python of a peer's environment; make it where it is not there yet.

    Raises:
        RuntimeError: It does not install; pip's last words are in the message.
    """
    lock = _FOLDER / f"{peer}.lock"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "secure-ml" / "peers"
    environment = cache / f"{peer}-{digest}"
    python, done = environment / "bin" / "python", environment / "installed"
    if not done.exists():
        print(f"  installing {peer}", file=sys.stderr, flush=True)
        _run(peer, [sys.executable, "-m", "venv", "--clear", str(environment)])
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        _run(peer, [*install, "--require-hashes", "-r", str(lock)])
        done.touch()
    return str(python)


def _run(peer: str, command: list[str]) -> None:
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode:
        raise RuntimeError(f"{peer} does not install: {process.stderr[-1000:]}")
