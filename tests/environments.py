"""Environments beside the project's own, each made once from its lock in a cache folder. Standard library only.

A peer's `NAME.in` says what is wanted, its `NAME.lock` is made from it with
`uv pip compile --no-header --no-annotate --generate-hashes --python-version 3.11 -o NAME.lock NAME.in`. Spark's lock
is made from pyproject.toml by `make lock`.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

__all__ = ["interpreter"]


def interpreter(lock: Path) -> str:
    """Return the Python of the environment of a lock; make it where it is not there yet.

    Raises:
        RuntimeError: It does not install; pip's last words are in the message.
    """
    name = lock.stem
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "secure-ml" / "environments"
    environment = cache / f"{name}-{digest}"
    python, done = environment / "bin" / "python", environment / "installed"
    if not done.exists():
        print(f"  installing {name}", file=sys.stderr, flush=True)
        _run(name, [sys.executable, "-m", "venv", "--clear", str(environment)])
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        _run(name, [*install, "--require-hashes", "-r", str(lock)])
        done.touch()
    return str(python)


def _run(name: str, command: list[str]) -> None:
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode:
        raise RuntimeError(f"{name} does not install: {process.stderr[-1000:]}")
