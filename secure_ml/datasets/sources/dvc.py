"""A DVC repository as a source, read from its `.dvc` files and its cache, without the tool itself.

`NAME.csv.dvc` is one batch (`.parquet`, `.arrow` and `.jsonl` too), and a tracked folder has one for each such file.
The
bytes come from the cache and must have the MD5 that the `.dvc` file or the list of the folder names. This detects
accidents. The signed manifest `manifest.dsse.json` beside the `.dvc` files (SHA-256) detects attacks.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from secure_ml.datasets.sources.names import MANIFEST_FILE, batches_in, only, read_manifest
from secure_ml.errors import MalformedError, UnavailableError
from secure_ml.safe_files import read_file

__all__ = ["DVC"]

_MAX_DVC_BYTES = 64 << 10
_MAX_LIST_BYTES = 32 << 20
_MD5 = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class _Object:
    """One object of the cache. Before DVC 3 text was hashed with Unix line ends and stored one folder higher."""

    md5: str
    legacy: bool


@dataclass(frozen=True, slots=True)
class DVC:
    """The files that the `.dvc` files of one folder track.

    Attributes:
        folder: Folder with the `.dvc` files.
        cache: Cache of the repository, by default `.dvc/cache` of the folder or of one above it.
        require_manifest: Quarantine each batch whose digest is not in the folder's signed manifest.
    """

    folder: Path
    cache: Path | None = None
    require_manifest: bool = True

    def names(self) -> list[str]:
        """Return the names of the tracked batches.

        Raises:
            UnavailableError: If the folder is missing, or the list of a tracked folder is not in the cache.
            MalformedError: If a `.dvc` file or a list is malformed.
        """
        return list(batches_in(self._tracked(), self.location()))

    def fetch(self, name: str, *, max_bytes: int) -> bytes:
        """Read one batch from the cache, once.

        Raises:
            UnavailableError: If the batch is missing or not in the cache.
            MalformedError: If its bytes are not the tracked ones, are more than `max_bytes`, or have two paths.
        """
        tracked = self._tracked()
        path = only(batches_in(tracked, self.location()).get(name, []), name, self.location())
        return self._read(tracked[path], path, max_bytes)

    def fetch_manifest(self) -> bytes | None:
        """Read the signed manifest, or return None if the source has none.

        Raises:
            UnavailableError: If it cannot be read.
            MalformedError: If it is not a regular file or too large.
        """
        return read_manifest(self.folder / MANIFEST_FILE)

    def location(self, name: str | None = None) -> str:
        """Describe the location of a batch, or of the repository, for people."""
        return f"dvc {self.folder}" if name is None else f"dvc {self.folder}: {name}"

    def _tracked(self) -> dict[str, _Object]:
        """Return the object of each tracked file by path."""
        try:
            paths = sorted(path for path in self.folder.iterdir() if path.suffix == ".dvc" and path.name != ".dvc")
        except OSError as error:
            raise UnavailableError(f"{self.location()}: cannot be listed ({error.strerror})") from None
        objects: dict[str, _Object] = {}
        for dvc_file in paths:
            for path, md5, legacy in _outs(dvc_file):
                if not md5.endswith(".dir"):
                    objects[path] = _object(md5, legacy, dvc_file.name)
                    continue
                listed = self._read(_object(md5.removesuffix(".dir"), legacy, dvc_file.name), f"{path}.dir", None)
                for relative, inner in _entries(listed, dvc_file.name):
                    objects[f"{path}/{relative}"] = _object(inner, legacy, dvc_file.name)
        return objects

    def _read(self, wanted: _Object, path: str, max_bytes: int | None) -> bytes:
        """Read one object, or the list of a folder if `max_bytes` is None."""
        file = self._cache() / ("" if wanted.legacy else "files/md5") / wanted.md5[:2] / wanted.md5[2:]
        if max_bytes is None:
            file = file.with_name(f"{file.name}.dir")
        try:
            content = read_file(file, max_bytes=_MAX_LIST_BYTES if max_bytes is None else max_bytes)
        except UnavailableError:
            raise UnavailableError(f"{self.folder / path}: not in the DVC cache; run dvc pull") from None
        except MalformedError as error:
            raise MalformedError(f"{path}: in the DVC cache: {error}") from None
        forms = [content, content.replace(b"\r\n", b"\n")] if wanted.legacy else [content]
        if wanted.md5 not in [hashlib.md5(form, usedforsecurity=False).hexdigest() for form in forms]:
            raise MalformedError(
                f"{path}: the bytes in the DVC cache are not the tracked ones (MD5); remove them and run dvc pull"
            )
        return content

    def _cache(self) -> Path:
        if self.cache is not None:
            return self.cache
        folder = self.folder.absolute()
        for root in (folder, *folder.parents):
            if (root / ".dvc").is_dir():
                return root / ".dvc" / "cache"
        raise UnavailableError(f"{self.location()}: not in a DVC repository; name its cache")


def _object(md5: str, legacy: bool, where: str) -> _Object:
    if not _MD5.fullmatch(md5):
        raise MalformedError(f"{where}: malformed MD5, expected 32 hexadecimal digits")
    return _Object(md5, legacy)


def _outs(path: Path) -> Iterator[tuple[str, str, bool]]:
    """Parse a `.dvc` file into path, MD5, and whether DVC before version 3 wrote it."""
    import yaml

    content = read_file(path, max_bytes=_MAX_DVC_BYTES)
    try:
        # Nested aliases can expand a kilobyte to more than fits into memory.
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(content, Loader=yaml.SafeLoader)):
            raise MalformedError(f"{path.name}: holds a YAML alias, which a .dvc file does not need; remove it")
        document = yaml.safe_load(content)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise MalformedError(f"{path.name}: not YAML ({type(error).__name__})") from None
    match document:
        case {"outs": list(outs)}:
            pass
        case _:
            raise MalformedError(f"{path.name}: not a .dvc file, expected a list of outs")
    for out in outs:
        match out:
            case {"md5": str(md5), "path": str(name), "hash": "md5"}:
                yield name, md5, False
            case {"md5": str(md5), "path": str(name)} if "hash" not in out:
                yield name, md5, True
            case _:
                raise MalformedError(f"{path.name}: unsupported out, expected path and md5")


def _entries(content: bytes, where: str) -> Iterator[tuple[str, str]]:
    """Parse the list of a tracked folder into path and MD5."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"{where}: list of files is not JSON ({type(error).__name__})") from None
    for entry in document if isinstance(document, list) else [None]:
        match entry:
            case {"md5": str(md5), "relpath": str(name)}:
                yield name, md5
            case _:
                raise MalformedError(f"{where}: malformed list of files, expected relpath and md5")
