"""`make ui`: the Dagster UI and its daemon, the HTML reports, and MLflow's UI, all on loopback, on one home."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

from secure_ml.errors import PreconditionError
from secure_ml.installation import Installation

__all__ = ["serve_ui"]

_HOST = "127.0.0.1"
_STOP_S = 20.0


def serve_ui(installation: Installation) -> int:
    """Start all, say where they are once they answer, and stop all when one ends or on SIGINT or SIGTERM.

    Raises:
        PreconditionError: A port is taken.
    """
    port = int(os.environ.get("SECURE_ML_UI_PORT") or 3000)
    for taken in (port, port + 1, port + 2):
        _require_free(taken)
    home = installation.home
    for folder in (home.reports, home.mlflow / "artifacts", home.inbox):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    binaries = Path(sys.executable).parent
    root = str(Path(__file__).parent.parent)
    workspace = str(Path(root) / "workspace.yaml")
    commands = [
        [str(binaries / "dagster-webserver"), "-h", _HOST, "-p", str(port), "-w", workspace],
        [str(binaries / "dagster-daemon"), "run", "-w", workspace],
        [sys.executable, "-m", "assets.report_server", str(port + 1)],
        [
            *[str(binaries / "mlflow"), "server", "--host", _HOST, "--port", str(port + 2), "--workers", "1"],
            *["--backend-store-uri", f"sqlite:///{home.mlflow / 'mlflow.db'}"],
            *["--default-artifact-root", str(home.mlflow / "artifacts")],
        ],
    ]
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    processes = {
        Path(command[0]).name: subprocess.Popen(command, cwd=root, start_new_session=True) for command in commands
    }
    try:
        said = False
        while not stop.wait(0.5):
            ended = [name for name, process in processes.items() if process.poll() is not None]
            if ended:
                print(f"error: {ended[0]} ended; stopping the others", file=sys.stderr)
                return 1
            if not said and _answers(f"http://{_HOST}:{port}/server_info"):
                said = True
                print(
                    f"Dagster UI  http://{_HOST}:{port}/asset-groups\n"
                    f"reports     http://{_HOST}:{port + 1}/\n"
                    f"MLflow      http://{_HOST}:{port + 2}/ (a few seconds later)\n"
                    "Ctrl-C stops all.",
                    flush=True,
                )
        return 0
    finally:
        for process in processes.values():
            _signal(process, signal.SIGTERM)
        for process in processes.values():
            try:
                process.wait(timeout=_STOP_S)
            except subprocess.TimeoutExpired:
                _signal(process, signal.SIGKILL)


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Signal the process and all that it started: each leads a session of its own."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError:
            raise PreconditionError(
                f"port {port} is taken; stop what uses it, or set SECURE_ML_UI_PORT to the first of three free ports"
            ) from None


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310 (loopback)
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False
