"""A real Postgres server of a test's own, from Debian's binaries, on loopback and with a password."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BINARIES = max(Path("/usr/lib/postgresql").glob("*/bin/initdb"), default=None)
PASSWORD = "s3cretpassword"


def environment_of(port: int, user: str = "owner", password: str = PASSWORD) -> dict[str, str]:
    return {
        "PGHOST": "127.0.0.1",
        "PGPORT": str(port),
        "PGDATABASE": "postgres",
        "PGUSER": user,
        "PGPASSWORD": password,
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def postgres_server() -> Iterator[int]:
    """Start a server as a user that is not root, and yield its port."""
    assert BINARIES is not None
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    as_user: dict[str, Any] = {}
    if os.geteuid() == 0:
        user = pwd.getpwnam("postgres")
        os.chown(folder, user.pw_uid, user.pw_gid)
        as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    as_user |= {"cwd": folder, "env": {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}}
    secret = folder / "password"
    secret.write_text(PASSWORD)
    secret.chmod(0o644)
    try:
        port = free_port()
        initdb = [str(BINARIES), "-D", "base", "-U", "owner", "-E", "UTF8", "-A", "scram-sha-256", "--no-sync"]
        subprocess.run([*initdb, "--pwfile", str(secret)], check=True, capture_output=True, **as_user)
        control = [str(BINARIES.with_name("pg_ctl")), "-D", "base", "-w", "-t", "60", "-l", "log"]
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        subprocess.run([*control, "-o", options, "start"], check=True, stdout=subprocess.DEVNULL, **as_user)
        try:
            yield port
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], check=True, stdout=subprocess.DEVNULL, **as_user)
    finally:
        shutil.rmtree(folder)
