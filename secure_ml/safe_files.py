"""Safe file access: read a file once, and write it beside its place before it takes its name.

Reading opens one regular file once, never a link, and returns a bounded number of bytes. A verifier works on these
bytes. A file of record is written beside its place, flushed to the disk and linked into place. A crash leaves nothing
half written, writers need no lock, and a name is never used for other bytes.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from secure_ml.errors import MalformedError, RejectedError, UnavailableError

__all__ = ["create_file", "create_folder", "lock_folder", "open_file", "read_file", "read_folder", "replace_file"]

_MAX_BYTES = 2 << 30


def read_file(path: Path, *, max_bytes: int = _MAX_BYTES) -> bytes:
    """Read a regular file once.

    Raises:
        MalformedError: If it is a link, a folder, a FIFO or a device, or larger than `max_bytes`.
        UnavailableError: If it is missing or unreadable.
    """
    try:
        with open_file(path) as stream:
            size = os.fstat(stream.fileno()).st_size
            if size > max_bytes:
                raise MalformedError(
                    f"{path.name}: too large, expected at most {max_bytes} bytes, found {size}; split the file"
                )
            content = stream.read(max_bytes + 1)
    except OSError as error:
        raise UnavailableError(f"{path.name}: cannot be read ({error.strerror})") from None
    if len(content) > max_bytes:
        raise MalformedError(f"{path.name}: too large, expected at most {max_bytes} bytes; split the file")
    return content


def open_file(path: Path) -> BinaryIO:
    """Open a regular file for reading. The caller closes it.

    Raises:
        MalformedError: If it is a link, a folder, a FIFO or a device.
        UnavailableError: If it is missing or unreadable.
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
    mode = os.fstat(stream.fileno()).st_mode
    if not stat.S_ISREG(mode):
        stream.close()
        raise MalformedError(f"{path.name}: expected a regular file, found a {_kind(mode)}")
    return stream


def read_folder(path: Path, *, max_bytes: int = _MAX_BYTES) -> dict[str, bytes]:
    """Read each file of a flat folder once, and return content by name.

    Raises:
        MalformedError: If the folder holds anything but regular files.
        UnavailableError: If it is missing or unreadable.
    """
    if path.is_symlink() or not path.is_dir():
        raise UnavailableError(f"{path.name}: no such folder in {path.parent}")
    return {entry.name: read_file(entry, max_bytes=max_bytes) for entry in sorted(path.iterdir())}


def create_file(path: Path, content: bytes, *, drafts: Path) -> Path:
    """Create a file of record once, atomically and durably, with mode 0600.

    Args:
        path: Name of the file.
        content: Its bytes.
        drafts: Folder on the same file system for the file while it is written.

    Raises:
        RejectedError: If the name is taken by other bytes.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _draft_folder(drafts) as folder:
        draft = folder / "file"
        _write_synced(draft, content)
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            if read_file(path) != content:
                raise RejectedError(
                    f"{path}: holds other bytes than the ones to be recorded; it was changed after it was written"
                ) from None
        else:
            _sync_folder(path.parent)
    return path


def create_folder(path: Path, files: Mapping[str, bytes], *, drafts: Path) -> Path:
    """Create a folder of record once, atomically and durably, with mode 0700.

    Args:
        path: Name of the folder.
        files: Content by file name.
        drafts: Folder on the same file system for the folder while it is written.

    Raises:
        RejectedError: If the name is taken by a folder with other content.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _draft_folder(drafts) as folder:
        draft = folder / "folder"
        draft.mkdir(mode=0o700)
        for name, content in files.items():
            _write_synced(draft / name, content)
        _sync_folder(draft)
        try:
            draft.rename(path)
        except OSError:
            recorded = read_folder(path)
            for name, content in files.items():
                if recorded.get(name) != content:
                    raise RejectedError(
                        f"{path / name}: missing or holds other bytes than the ones to be recorded; "
                        "it was changed after it was written"
                    ) from None
        else:
            _sync_folder(path.parent)
    return path


def replace_file(path: Path, content: bytes, *, durable: bool = False) -> Path:
    """Write a file beside its place and rename it, never through a link. A file with these bytes is left alone.

    Args:
        path: Name of the file.
        content: Its bytes.
        durable: Whether the file survives a crash of the machine. Derived files can be written again, and need not.

    Raises:
        OSError: If the file cannot be written.
    """
    unchanged = not path.is_symlink() and path.is_file() and path.stat().st_size == len(content)
    if unchanged and path.read_bytes() == content:
        return path
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{secrets.token_hex(8)}")
    try:
        with draft.open("wb") as stream:
            stream.write(content)
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
        draft.replace(path)
        if durable:
            _sync_folder(path.parent)
    finally:
        draft.unlink(missing_ok=True)
    return path


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Let one process at a time work in `folder`. The lock of a process ends with it.

    Raises:
        UnavailableError: If the lock file cannot be opened, or is a link.
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
def _draft_folder(drafts: Path) -> Iterator[Path]:
    folder = drafts / secrets.token_hex(8)
    folder.mkdir(mode=0o700, parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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
