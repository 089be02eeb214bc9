"""A DVC repository: `.dvc` files and cache in the tool's exact format, and made by the tool where it is there."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from secure_ml.datasets.source_manifest import sign_manifest
from secure_ml.datasets.sources import DVC
from secure_ml.datasets.sources.names import MANIFEST_FILE
from secure_ml.digests import sha256
from secure_ml.errors import MalformedError, RejectedError, UnavailableError
from secure_ml.installation import Installation
from secure_ml.signing.keys import Signer
from secure_ml.stages.dataset import ingest_batch
from secure_ml.stages.validated_dataset import validate_batch
from tests.installed_home import flip
from tests.readme_model import rows
from tests.sources_support import GOOD, POISON, follow_changes, model_on, parquet

MARCH = rows(60, seed=4).encode()


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def store(cache: Path, content: bytes, suffix: str = "") -> str:
    digest = md5(content)
    path = cache / digest[:2] / f"{digest[2:]}{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o444)
    return digest


def write_file(folder: Path, name: str, content: bytes) -> None:
    """What `dvc add NAME` of DVC 3 writes."""
    digest = store(folder / ".dvc/cache/files/md5", content)
    text = f"outs:\n- md5: {digest}\n  size: {len(content)}\n  hash: md5\n  path: {name}\n"
    (folder / f"{name}.dvc").write_text(text)


def write_folder(folder: Path, name: str, files: dict[str, bytes]) -> None:
    """What `dvc add NAME` of DVC 3 writes for a folder."""
    cache = folder / ".dvc/cache/files/md5"
    listed = [{"md5": store(cache, files[path]), "relpath": path} for path in sorted(files)]
    digest = store(cache, json.dumps(listed).encode(), ".dir")
    size = sum(len(content) for content in files.values())
    text = f"outs:\n- md5: {digest}.dir\n  size: {size}\n  nfiles: {len(files)}\n  hash: md5\n  path: {name}\n"
    (folder / f"{name}.dvc").write_text(text)


def object_of(folder: Path, content: bytes) -> Path:
    digest = md5(content)
    return folder / ".dvc/cache/files/md5" / digest[:2] / digest[2:]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    write_file(folder, "january.csv", GOOD)
    write_file(folder, "may.parquet", parquet())
    write_folder(folder, "raw", {"march.csv": MARCH, "deep/april.csv": GOOD, "notes.txt": b"no batch"})
    return folder


def test_files_and_folders_are_batches_and_go_through_both_gates(repository: Path, installation: Installation) -> None:
    source = DVC(repository, require_manifest=False)
    assert source.names() == ["january", "may", "raw.deep.april", "raw.march"]
    model = model_on(sources={"lab": source})
    for batch in ("lab.january", "lab.may", "lab.raw.march"):
        ingest_batch(installation, model, batch)
        assert validate_batch(installation, model, batch).facts["rows"] == 60
    assert source.fetch("raw.deep.april", max_bytes=1 << 20) == GOOD


def test_changed_bytes_of_a_tracked_file_are_a_new_version(tmp_path: Path, installation: Installation) -> None:
    folder = tmp_path / "lab"
    folder.mkdir()
    model = model_on(sources={"lab": DVC(folder, require_manifest=False)})
    follow_changes(installation, model, "lab.january", lambda content: write_file(folder, "january.csv", content))


def test_the_workspace_is_not_read(repository: Path) -> None:
    (repository / "january.csv").write_bytes(POISON)
    assert DVC(repository, require_manifest=False).fetch("january", max_bytes=1 << 20) == GOOD


def test_a_flipped_bit_in_the_cache_is_found(repository: Path) -> None:
    source = DVC(repository, require_manifest=False)
    flip(object_of(repository, GOOD))
    for name in ("january", "raw.deep.april"):
        with pytest.raises(MalformedError, match=r"csv: the bytes in the DVC cache are not the tracked ones \(MD5\)"):
            source.fetch(name, max_bytes=1 << 20)
    (listed,) = repository.rglob("*.dir")
    flip(listed)
    with pytest.raises(MalformedError, match=r"raw\.dir: the bytes in the DVC cache are not the tracked ones"):
        source.names()


def test_md5_is_no_defence_against_who_writes_the_repository_and_the_manifest_is(
    repository: Path, installation: Installation, signer: Signer
) -> None:
    manifest = sign_manifest("lab", {"january.csv": sha256(GOOD)}, signer)
    (repository / MANIFEST_FILE).write_bytes(manifest)
    write_file(repository, "january.csv", POISON)
    ingest_batch(installation, model_on(sources={"lab": DVC(repository, require_manifest=False)}), "lab.january")
    guarded = model_on(sources={"lab": DVC(repository)})
    with pytest.raises(RejectedError, match=r"lab\.january: its digest is not in the source's signed manifest"):
        ingest_batch(installation, guarded, "lab.january")


def test_what_is_not_in_the_cache_is_unavailable(repository: Path) -> None:
    source = DVC(repository, require_manifest=False)
    object_of(repository, GOOD).unlink()
    with pytest.raises(UnavailableError, match=r"january\.csv: not in the DVC cache; run dvc pull"):
        source.fetch("january", max_bytes=1 << 20)
    with pytest.raises(UnavailableError, match="no such batch"):
        source.fetch("february", max_bytes=1 << 20)
    with pytest.raises(MalformedError, match="split the file"):
        source.fetch("raw.march", max_bytes=100)
    next(repository.rglob("*.dir")).unlink()
    with pytest.raises(UnavailableError, match=r"raw\.dir: not in the DVC cache"):
        source.names()


def test_a_link_in_the_cache_is_not_followed(repository: Path, tmp_path: Path) -> None:
    place = object_of(repository, GOOD)
    place.unlink()
    (tmp_path / "elsewhere").write_bytes(GOOD)
    place.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(MalformedError, match="found a link"):
        DVC(repository, require_manifest=False).fetch("january", max_bytes=1 << 20)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("outs: [", "not YAML"),
        ("!!python/object/apply:os.system ['touch s3cret']", "not YAML"),
        ("- md5: x", "not a .dvc file"),
        ("", "not a .dvc file"),
        ("outs:\n- path: bad.csv\n", "expected path and md5"),
        ("outs:\n- md5: 00000000000000000000000000000000\n  hash: sha1\n  path: bad.csv\n", "unsupported out"),
        ("outs:\n- md5: ../../../../../etc/passwd\n  hash: md5\n  path: bad.csv\n", "malformed MD5"),
        ("outs:\n- md5: 1234\n  hash: md5\n  path: bad.csv\n", "expected path and md5"),
        ("[" * 5_000, "not YAML (ParserError)"),
        ("[" * 5_000 + "]" * 5_000, "not YAML (RecursionError)"),
        ("x" * 70_000, "expected at most 65536 bytes"),
        ("outs:\n- &a [x]\n" + "- [*a, *a, *a]\n" * 9, "holds a YAML alias"),
        ("a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 64)), "alias"),
    ],
)
def test_a_file_that_is_no_dvc_file_is_one_clear_sentence(text: str, said: str, repository: Path) -> None:
    (repository / "bad.csv.dvc").write_text(text)
    with pytest.raises(MalformedError) as caught:
        DVC(repository).names()
    assert said in str(caught.value)
    assert "bad.csv.dvc" in str(caught.value)
    assert not Path("s3cret").exists()


@pytest.mark.parametrize("listed", [b"", b"{}", b"[1]", b'[{"md5": "x", "relpath": "a.csv"}]', b"[" * 100_000])
def test_a_folders_list_that_is_none_is_one_clear_sentence(listed: bytes, repository: Path) -> None:
    digest = store(repository / ".dvc/cache/files/md5", listed, ".dir")
    (repository / "bad.dvc").write_text(f"outs:\n- md5: {digest}.dir\n  hash: md5\n  path: bad\n")
    with pytest.raises(MalformedError, match=r"bad\.dvc: (list of files|malformed MD5|malformed list)"):
        DVC(repository).names()


@pytest.mark.parametrize("path", ["../january.csv", "/etc/january.csv", ".hidden.csv"])
def test_a_path_that_leaves_the_folder_is_no_batch(path: str, repository: Path) -> None:
    write_file(repository, "other.csv", GOOD)
    text = (repository / "other.csv.dvc").read_text()
    (repository / "other.csv.dvc").write_text(text.replace("path: other.csv", f"path: {path}"))
    assert DVC(repository).names() == ["january", "may", "raw.deep.april", "raw.march"]


def test_two_files_that_are_the_same_batch_are_refused_and_stop_no_other(repository: Path) -> None:
    write_file(repository, "raw.march.csv", GOOD)
    source = DVC(repository)
    assert source.names() == ["january", "may", "raw.deep.april", "raw.march"]
    with pytest.raises(MalformedError, match=r"2 files are batch raw\.march; remove all but one"):
        source.fetch("raw.march", max_bytes=1 << 20)
    assert source.fetch("january", max_bytes=1 << 20) == GOOD


def test_a_repository_of_dvc_2_hashed_text_with_unix_line_ends(tmp_path: Path) -> None:
    content = GOOD.replace(b"\n", b"\r\n")
    digest = md5(GOOD)
    place = tmp_path / ".dvc/cache" / digest[:2] / digest[2:]
    place.parent.mkdir(parents=True)
    place.write_bytes(content)
    (tmp_path / "january.csv.dvc").write_text(f"outs:\n- md5: {digest}\n  size: {len(content)}\n  path: january.csv\n")
    assert DVC(tmp_path).fetch("january", max_bytes=1 << 20) == content
    place.write_bytes(content.replace(b"0", b"1"))
    with pytest.raises(MalformedError, match="not the tracked ones"):
        DVC(tmp_path).fetch("january", max_bytes=1 << 20)


def test_a_cache_elsewhere_is_named_and_a_folder_outside_of_any_repository_says_so(tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    origin.mkdir()
    write_file(origin, "january.csv", GOOD)
    (tmp_path / "bare").mkdir()
    shutil.copy(origin / "january.csv.dvc", tmp_path / "bare")
    with pytest.raises(UnavailableError, match="not in a DVC repository; name its cache"):
        DVC(tmp_path / "bare").fetch("january", max_bytes=1 << 20)
    elsewhere = DVC(tmp_path / "bare", cache=origin / ".dvc" / "cache")
    assert elsewhere.fetch("january", max_bytes=1 << 20) == GOOD


@pytest.mark.dvc
@pytest.mark.skipif(shutil.which("dvc") is None, reason="the dvc tool is not installed")
def test_a_repository_that_the_tool_itself_made_is_the_same(repository: Path, tmp_path: Path) -> None:
    real = tmp_path / "real"
    (real / "raw" / "deep").mkdir(parents=True)
    files = {
        "january.csv": GOOD,
        "may.parquet": parquet(),
        "raw/march.csv": MARCH,
        "raw/deep/april.csv": GOOD,
        "raw/notes.txt": b"no batch",
    }
    for name, content in files.items():
        (real / name).write_bytes(content)
    quiet = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    for command in (["init", "--quiet", "--no-scm"], ["add", "--quiet", "january.csv", "may.parquet", "raw"]):
        subprocess.run(["dvc", *command], cwd=real, check=True, env=quiet, capture_output=True)
    assert (real / "january.csv.dvc").read_text() == (repository / "january.csv.dvc").read_text()
    assert DVC(real).names() == DVC(repository).names()
    for name in DVC(real).names():
        assert DVC(real).fetch(name, max_bytes=1 << 20) == DVC(repository).fetch(name, max_bytes=1 << 20)
