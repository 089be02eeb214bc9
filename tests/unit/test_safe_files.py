"""Files of record: read once and bounded, written once and never over."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from secure_ml.errors import MalformedError, RejectedError, UnavailableError
from secure_ml.home import Home
from secure_ml.safe_files import read_file, read_folder


@pytest.fixture
def root(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_a_name_that_is_taken_by_other_bytes_is_refused_and_they_stay(root: Home, tmp_path: Path) -> None:
    path = tmp_path / "evidence" / "it.json"
    root.write_file(path, b"first")
    root.write_file(path, b"first")
    with pytest.raises(RejectedError, match="other bytes"):
        root.write_file(path, b"second")
    assert path.read_bytes() == b"first"


@pytest.mark.parametrize("there", [{"a": b"other"}, {"b": b"1"}])
def test_a_folder_that_is_taken_by_other_files_is_refused_and_they_stay(
    there: dict[str, bytes], root: Home, tmp_path: Path
) -> None:
    path = tmp_path / "models" / "it"
    root.write_folder(path, there)
    root.write_folder(path, there)
    with pytest.raises(RejectedError, match="other bytes"):
        root.write_folder(path, {"a": b"1"})
    assert read_folder(path) == there


def test_nothing_is_left_beside_what_was_written(root: Home, tmp_path: Path) -> None:
    root.write_file(tmp_path / "a" / "file", b"x")
    root.write_folder(tmp_path / "b" / "folder", {"file": b"x"})
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize("kind", ["link", "link to a folder", "folder", "FIFO"])
def test_what_lies_in_the_place_of_a_file_is_not_written_through(kind: str, root: Home, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"private")
    path = tmp_path / "evidence" / "it.json"
    path.parent.mkdir()
    match kind:
        case "link":
            path.symlink_to(outside)
        case "link to a folder":
            path.symlink_to(tmp_path)
        case "folder":
            path.mkdir()
        case "FIFO":
            os.mkfifo(path)
    with pytest.raises(MalformedError, match="expected a regular file"):
        root.write_file(path, b"x")
    assert outside.read_bytes() == b"private"


def test_a_link_in_the_place_of_a_folder_is_not_written_through(root: Home, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "it").symlink_to(tmp_path / "outside")
    with pytest.raises(UnavailableError):
        root.write_folder(tmp_path / "models" / "it", {"a": b"1"})
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_file_over_the_limit_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(MalformedError, match="expected at most 10 bytes, found"):
        read_file(path, max_bytes=10)
    path.write_bytes(b"x" * 10)
    assert read_file(path, max_bytes=10) == b"x" * 10


def test_a_file_that_lies_about_its_size_is_bounded_too() -> None:
    """Files of /proc say that they are empty."""
    with pytest.raises(MalformedError, match="expected at most 10 bytes"):
        read_file(Path("/proc/self/status"), max_bytes=10)
