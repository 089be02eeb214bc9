"""Where state lives, and the only two ways in which files of record are read and written.

Reading: one regular file, no link, opened once, bounded, all bytes at once; whoever verifies works on these
bytes. Writing: a file of record is written beside its place, flushed to the disk and renamed into place, so a
crash leaves nothing half written and writers need no lock. A name is never reused for other bytes.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from secure_ml.errors import MalformedError, PreconditionError, RejectedError, UnavailableError

__all__ = ["Home", "open_file", "read_file", "read_folder", "write_derived"]

_MAX_BYTES = 2 << 30


def read_file(path: Path, *, max_bytes: int = _MAX_BYTES) -> bytes:
    """Read a regular file once.

    Raises:
        MalformedError: A link, a folder, a FIFO, a device, or larger than `max_bytes`.
        UnavailableError: Missing or unreadable.
    """
    try:
        with open_file(path) as stream:
            size = os.fstat(stream.fileno()).st_size
            if size > max_bytes:
                raise MalformedError(f"{path.name}: {size} bytes, at most {max_bytes} are read; split the file")
            content = stream.read(max_bytes + 1)
    except OSError as error:
        raise UnavailableError(f"{path.name}: cannot be read ({error.strerror})") from None
    if len(content) > max_bytes:
        raise MalformedError(f"{path.name}: more than {max_bytes} bytes; split the file")
    return content


def open_file(path: Path) -> BinaryIO:
    """Open a regular file for reading; the caller closes it.

    Raises:
        MalformedError: A link, a folder, a FIFO or a device.
        UnavailableError: Missing or unreadable.
    """
    try:
        kind = _kind(path.lstat().st_mode)
        if kind != "regular file":
            raise MalformedError(f"{path.name}: expected a regular file, found a {kind}")
        stream = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    except FileNotFoundError:
        raise UnavailableError(f"{path.name}: no such file in {path.parent}") from None
    except OSError as error:
        raise UnavailableError(f"{path.name}: cannot be read ({error.strerror})") from None
    found = os.fstat(stream.fileno())
    if not stat.S_ISREG(found.st_mode):
        stream.close()
        raise MalformedError(f"{path.name}: expected a regular file, found a {_kind(found.st_mode)}")
    return stream


def read_folder(path: Path, *, max_bytes: int = _MAX_BYTES) -> dict[str, bytes]:
    """Read each file of a flat folder once, as name to bytes.

    Raises:
        MalformedError: It holds anything but regular files.
        UnavailableError: Missing or unreadable.
    """
    if path.is_symlink() or not path.is_dir():
        raise UnavailableError(f"{path.name}: no such folder in {path.parent}")
    return {entry.name: read_file(entry, max_bytes=max_bytes) for entry in sorted(path.iterdir())}


def write_derived(path: Path, content: bytes) -> Path:
    """Write a file that can be made again: replaced by rename, and left alone where it holds these bytes already.

    Raises:
        OSError: It cannot be written.
    """
    unchanged = not path.is_symlink() and path.is_file() and path.stat().st_size == len(content)
    if unchanged and path.read_bytes() == content:
        return path
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f".{secrets.token_hex(8)}")
    try:
        with fresh.open("wb") as stream:
            stream.write(content)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
    return path


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFREG: "regular file",
        stat.S_IFDIR: "folder",
        stat.S_IFLNK: "link",
        stat.S_IFIFO: "FIFO",
        stat.S_IFSOCK: "socket",
        stat.S_IFCHR: "device",
        stat.S_IFBLK: "device",
    }
    return kinds.get(stat.S_IFMT(mode), "special file")


@dataclass(frozen=True, slots=True)
class Home:
    """The folder that holds all state of one installation (`SECURE_ML_HOME`, default `.secure_ml/`)."""

    root: Path

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Home:
        """Return the home that `SECURE_ML_HOME` names, made where it is not yet there."""
        root = Path(environment.get("SECURE_ML_HOME") or ".secure_ml").absolute()
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise PreconditionError(
                f"SECURE_ML_HOME {root}: cannot be made ({error.strerror}); name a folder you may write"
            ) from None
        return cls(root.resolve())

    @property
    def inbox(self) -> Path:
        """New batches arrive here, a folder a model."""
        return self.root / "inbox"

    @property
    def datasets(self) -> Path:
        """Dataset versions, content-addressed."""
        return self.root / "datasets"

    @property
    def models(self) -> Path:
        """Model versions, content-addressed."""
        return self.root / "models"

    @property
    def evidence(self) -> Path:
        """Signed evidence, `<model>/<stage>/<cause>.json`."""
        return self.root / "evidence"

    @property
    def releases(self) -> Path:
        """Signed, numbered release documents, `<model>/<number>.json`."""
        return self.root / "releases"

    @property
    def log(self) -> Path:
        """The inference log: one SQLite file a service process, and the sealed segments."""
        return self.root / "log"

    @property
    def lake(self) -> Path:
        """The DuckDB views over all of it."""
        return self.root / "lake"

    @property
    def quarantine(self) -> Path:
        """Refused batches and windows, with reasons and failing rows."""
        return self.root / "quarantine"

    @property
    def mlflow(self) -> Path:
        """MLflow's SQLite backend and artifacts."""
        return self.root / "mlflow"

    @property
    def dagster(self) -> Path:
        """Dagster's instance."""
        return self.root / "dagster"

    @property
    def reports(self) -> Path:
        """HTML reports."""
        return self.root / "reports"

    def write_file(self, path: Path, content: bytes) -> Path:
        """Write a file of record once, atomically.

        Raises:
            RejectedError: The name is taken by other bytes.
        """
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._beside() as folder:
            fresh = folder / "file"
            _write_synced(fresh, content)
            try:
                path.hardlink_to(fresh)
            except FileExistsError:
                if read_file(path) != content:
                    raise RejectedError(
                        f"{path}: holds other bytes than the ones to be recorded; it was changed after it was written"
                    ) from None
            else:
                _sync_folder(path.parent)
        return path

    def write_folder(self, path: Path, files: Mapping[str, bytes]) -> Path:
        """Write a folder of record once, atomically.

        Raises:
            RejectedError: The name is taken by a folder with other content.
        """
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._beside() as folder:
            fresh = folder / "folder"
            fresh.mkdir(mode=0o700)
            for name, content in files.items():
                _write_synced(fresh / name, content)
            _sync_folder(fresh)
            try:
                fresh.rename(path)
            except OSError:
                found = read_folder(path)
                for name, content in files.items():
                    if found.get(name) != content:
                        raise RejectedError(
                            f"{path / name}: missing or holds other bytes than the ones to be recorded; "
                            "it was changed after it was written"
                        ) from None
            else:
                _sync_folder(path.parent)
        return path

    @contextmanager
    def locked(self, folder: Path) -> Iterator[None]:
        """Let one process at a time work in `folder`; a process that ends lets go.

        Raises:
            UnavailableError: A link lies in the lock's place, or it cannot be made.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(folder / "lock", flags, 0o600)
        except OSError as error:
            raise UnavailableError(f"{folder / 'lock'}: cannot be opened ({error.strerror}); remove it") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def _beside(self) -> Iterator[Path]:
        """Make a folder on the same file system for what is not yet of record; it is removed again."""
        folder = self.root / "tmp" / secrets.token_hex(8)
        folder.mkdir(mode=0o700, parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _write_synced(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)  # it may hold personal data
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
