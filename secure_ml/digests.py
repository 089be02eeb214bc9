"""Digests and canonical JSON, by which bytes and documents are named."""

from __future__ import annotations

import hashlib
import json
import re
from typing import NewType, TypeAlias

from secure_ml.errors import MalformedError

__all__ = ["Digest", "Json", "canonical_json", "digest_of", "parse_digest", "parse_json", "sha256"]

Digest = NewType("Digest", str)
"""A SHA-256 digest, 64 lower-case hexadecimal digits."""

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"

_HEX = re.compile(r"[0-9a-f]{64}")


def sha256(content: bytes) -> Digest:
    """Return the SHA-256 digest of `content`."""
    return Digest(hashlib.sha256(content).hexdigest())


def parse_digest(text: object, where: str) -> Digest:
    """Return `text` as a digest.

    Raises:
        MalformedError: If it is not 64 lower-case hexadecimal digits.
    """
    if not isinstance(text, str) or not _HEX.fullmatch(text):
        raise MalformedError(f"{where}: malformed digest, expected 64 hexadecimal digits of SHA-256")
    return Digest(text)


def canonical_json(document: object) -> bytes:
    """Render `document` as UTF-8 with sorted keys and without spaces.

    Raises:
        MalformedError: If it holds text that is not Unicode, such as half of a surrogate pair.
        ValueError: If it holds NaN or an infinite number.
    """
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise MalformedError("document: invalid text, expected Unicode") from None


def digest_of(document: object) -> Digest:
    """Return the digest of the canonical JSON of `document`."""
    return sha256(canonical_json(document))


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    keys = dict(pairs)
    if len(keys) != len(pairs):
        raise ValueError("duplicate key")
    return keys


def _no_constant(name: str) -> Json:
    raise ValueError(f"{name} is not JSON")


def parse_json(content: bytes, where: str) -> dict[str, Json]:
    """Parse one JSON object without duplicate keys, NaN and infinite numbers.

    Raises:
        MalformedError: If it is not one such JSON object in UTF-8. The message never quotes the content.
    """
    try:
        document = json.loads(content.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"{where}: not a JSON document ({type(error).__name__})") from None
    if not isinstance(document, dict):
        raise MalformedError(f"{where}: not a JSON object, expected one object")
    return document
