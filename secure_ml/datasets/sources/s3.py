"""An S3-compatible store as a source, read through pyarrow.

Credentials come from the usual AWS settings: `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, a profile, or the role
of the
machine. An error names bucket, key and the store's error code, and never repeats the store's own text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from secure_ml.datasets.sources.names import (
    BATCH_NAME,
    MANIFEST_FILE,
    MAX_MANIFEST_BYTES,
    batches_in,
    file_names,
    missing,
    only,
)
from secure_ml.errors import MalformedError, PreconditionError, UnavailableError

__all__ = ["S3"]

_CONNECT_S, _ANSWER_S, _ATTEMPTS = 10.0, 60.0, 3
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_CODE = re.compile(r"AWS Error ([A-Z_]{1,60})")


@dataclass(frozen=True, slots=True)
class S3:
    """The objects `PREFIX/NAME.csv` of a bucket (`.parquet`, `.arrow`, `.jsonl`), and `PREFIX/manifest.dsse.json`.

    Attributes:
        bucket: Name of the bucket.
        prefix: Prefix of the names, with or without a final slash. Objects in deeper folders are ignored.
        endpoint: URL of a store that is not AWS, such as `https://minio.example:9000`, without a password.
        region: Region of the store, by default `AWS_REGION`, a profile, or us-east-1.
        require_manifest: Quarantine each batch whose digest is not in the prefix's signed manifest.
    """

    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    region: str | None = None
    require_manifest: bool = True

    def __post_init__(self) -> None:
        """Reject a definition that can never work, and credentials in it."""
        if not _BUCKET.fullmatch(self.bucket):
            raise PreconditionError("S3.bucket: expected 3 to 63 lower-case letters, digits, '.' and '-'")
        if self.endpoint is not None:
            parts = urlsplit(self.endpoint)
            if "@" in self.endpoint or parts.query:
                raise PreconditionError("S3.endpoint: holds credentials; they belong into AWS_... variables")
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/"):
                raise PreconditionError("S3.endpoint: expected http(s)://host or http(s)://host:port")

    def names(self) -> list[str]:
        """Return the names of the batches.

        Raises:
            UnavailableError: If the store does not answer or denies access.
            MalformedError: If there are too many batches.
        """
        from pyarrow.fs import FileSelector, FileType

        try:
            entries = self._store().get_file_info(FileSelector(self._path("").rstrip("/")))
        except OSError as error:
            raise _unavailable(self.location(), error) from None
        paths = [entry.base_name for entry in entries if entry.type == FileType.File]
        return list(batches_in(paths, self.location()))

    def fetch(self, name: str, *, max_bytes: int) -> bytes:
        """Read one batch, once.

        Raises:
            UnavailableError: If the batch is missing, the store does not answer or denies access, or the object changed
                while it was read.
            MalformedError: If the batch is larger than `max_bytes` or has two objects.
        """
        content = self._read(only(self._objects(name), name, self.location()), max_bytes)
        if content is None:
            raise missing(name, self.location())
        return content

    def fetch_manifest(self) -> bytes | None:
        """Read the signed manifest, or return None if the source has none.

        Raises:
            UnavailableError: If the store does not answer or denies access.
            MalformedError: If it is too large.
        """
        return self._read(MANIFEST_FILE, MAX_MANIFEST_BYTES)

    def location(self, name: str | None = None) -> str:
        """Describe the location of a batch, or of the prefix, for people."""
        return f"s3://{self._path('' if name is None else name)}"

    def _objects(self, name: str) -> list[str]:
        store, files = self._store(), list[str]()
        for file in file_names(name) if BATCH_NAME.fullmatch(name) else []:
            try:
                store.open_input_file(self._path(file)).close()
            except FileNotFoundError:
                continue
            except OSError as error:
                raise _unavailable(f"s3://{self._path(file)}", error) from None
            files.append(file)
        return files

    def _path(self, name: str) -> str:
        prefix = self.prefix.strip("/")
        return f"{self.bucket}/{prefix}/{name}" if prefix else f"{self.bucket}/{name}"

    def _read(self, name: str, max_bytes: int) -> bytes | None:
        path = self._path(name)
        store = self._store()
        try:
            with store.open_input_file(path) as stream:
                size, tag = stream.size(), _tag(stream)
                if size > max_bytes:
                    raise MalformedError(f"{name}: {size} bytes, at most {max_bytes} are read; split the file")
                # Read into a buffer of our own: if a store sends less than it announced, `read` of pyarrow 25
                # returns uninitialised memory.
                content = bytearray(size)
                stream.readinto(content)
            with store.open_input_file(path) as stream:
                changed = _tag(stream) != tag
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unavailable(f"s3://{path}", error) from None
        if changed or content.endswith(b"\0"):
            raise UnavailableError(f"s3://{path}: changed while it was read, or was cut short; read it again")
        return bytes(content)

    def _store(self) -> Any:
        from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

        try:
            return S3FileSystem(
                endpoint_override=self.endpoint,
                region=self.region,
                connect_timeout=_CONNECT_S,
                request_timeout=_ANSWER_S,
                retry_strategy=AwsStandardS3RetryStrategy(max_attempts=_ATTEMPTS),
            )
        except (OSError, ValueError) as error:
            raise _unavailable(self.location(), error) from None


def _tag(stream: Any) -> object:
    """Return entity tag and time of an object, which change with its content."""
    metadata = stream.metadata()
    return metadata.get("ETag"), metadata.get("Last-Modified")


def _unavailable(location: str, error: Exception) -> UnavailableError:
    match = _CODE.search(str(error))
    code = match[1] if match else type(error).__name__
    return UnavailableError(
        f"{location}: the store did not deliver it ({code}); check endpoint, bucket and credentials"
    )
