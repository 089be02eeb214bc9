"""OpenSSF Model Signing bundles (`model.sig`), signed and verified by the model_signing library, over bytes in memory.

The library accepts some bundles that we reject. Verification has five steps, and the code carries their numbers:

1. The bundle is small and is one JSON object of exactly the expected form: a signature by a key, without a certificate
   or a log entry.
2. The bundle's hint selects a key of the trust root, and this key may sign models.
3. The payload is a v1.0 statement over whole files with SHA-256 and without symbolic links. It ignores only the
   signature and git's files, and the model folder holds no git files. Names are flat, unique and sorted.
4. The library verifies the signature and the statement.
5. The signed files are exactly the files passed in, byte for byte.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec

from secure_ml.digests import Json, parse_json, sha256
from secure_ml.errors import MalformedError, RejectedError
from secure_ml.signing.keys import Signer
from secure_ml.signing.trust import Trust
from secure_ml.stage_names import MODEL

__all__ = ["sign_model", "verify_model"]

_SIGNATURE = "model.sig"
_MAX_BYTES = 16 << 20
_MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_PAYLOAD_TYPE = "application/vnd.in-toto+json"
_GIT = (".git", ".gitattributes", ".github", ".gitignore")
_IGNORED = [_SIGNATURE, *_GIT]
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")


def sign_model(files: Mapping[str, bytes], name: str, signer: Signer) -> bytes:
    """Sign a flat model folder and return the content of its `model.sig`.

    Args:
        files: Content by name, without the signature.
        name: Name of the model, the subject of the statement.
        signer: Signer of models.

    Raises:
        RejectedError: If the signature would not cover a file of this name, or the folder is empty.
    """
    from model_signing._signing import sign_ec_key, signing

    class _Key:
        """Takes the place of the private key that the library expects. The private key itself stays in the signer."""

        def public_key(self) -> ec.EllipticCurvePublicKey:
            return signer.public_key

        def sign(self, payload: bytes, _: ec.EllipticCurveSignatureAlgorithm) -> bytes:
            return signer.sign(payload)

    class _Signer(sign_ec_key.Signer):
        def __init__(self) -> None:
            self._private_key: Any = _Key()

    _require_file_names(files)
    signature: Any = _Signer().sign(signing.Payload(_manifest(files, name)))
    rendered: str = signature.bundle.to_json()
    return rendered.encode()


def verify_model(files: Mapping[str, bytes], signature: bytes, trust: Trust) -> None:
    """Verify that `signature` covers exactly `files`.

    Args:
        files: Content by name, without the signature. The function reads no file from disk.
        signature: Content of `model.sig`.
        trust: Trust root that the key is taken from.

    Raises:
        MalformedError: If the signature is not such a bundle.
        RejectedError: If the key is not trusted, the signature is invalid, or a file is changed, missing or unsigned.
            The message names the file.
    """
    from model_signing._signing import sign_ec_key, sign_sigstore_pb
    from sigstore_models.bundle import v1 as bundle_pb

    # 1. The bundle's form.
    if len(signature) > _MAX_BYTES:
        raise MalformedError(f"{_SIGNATURE}: too large, expected at most {_MAX_BYTES} bytes, found {len(signature)}")
    document = parse_json(signature, _SIGNATURE)
    hint, payload = _parse_bundle(document)
    # 2. The key.
    public_key = trust.key(hint, MODEL, _SIGNATURE)
    # 3. The statement.
    _require_statement(parse_json(payload, f"{_SIGNATURE} payload"))
    _require_file_names(files)

    # 4. The library.
    class _Verifier(sign_ec_key.Verifier):
        def __init__(self) -> None:
            self._public_key = public_key

    try:
        material: Any = document["verificationMaterial"]
        material.setdefault("tlogEntries", [])
        expected = _Verifier().verify(sign_sigstore_pb.Signature(bundle_pb.Bundle.from_dict(document)))
    except InvalidSignature:
        raise RejectedError(
            f"{_SIGNATURE}: invalid signature; it was changed or forged, sign the model again"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MalformedError(
            f"{_SIGNATURE}: malformed, the model_signing library rejects it ({type(error).__name__})"
        ) from None
    # 5. The files.
    signed = {item.identifier: item.digest.digest_hex for item in expected.resource_descriptors()}
    actual = {name: sha256(content) for name, content in files.items()}
    for name in sorted(signed.keys() | actual.keys()):
        if name not in actual:
            raise RejectedError(f"{name}: missing, but signed in {_SIGNATURE}; restore it")
        if name not in signed:
            raise RejectedError(f"{name}: not signed in {_SIGNATURE}; remove it")
        if signed[name] != actual[name]:
            raise RejectedError(f"{name}: changed after it was signed; restore it from a good copy")


def _manifest(files: Mapping[str, bytes], name: str) -> Any:
    from model_signing import manifest
    from model_signing._hashing import hashing

    serialization = manifest.SerializationType.from_args(
        {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": _IGNORED}
    )
    items = [
        serialization.new_item(file, hashing.Digest("sha256", bytes.fromhex(sha256(content))))
        for file, content in sorted(files.items())
    ]
    return manifest.Manifest(name, items, serialization)


def _require_file_names(files: Mapping[str, bytes]) -> None:
    for name in files:
        if not _NAME.fullmatch(name) or name == _SIGNATURE:
            raise RejectedError(f"{name[:40]!r}: a file of this name cannot be signed; rename or remove it")
    if not files:
        raise RejectedError("model folder: empty, expected at least one file to sign")


def _parse_bundle(document: dict[str, Json]) -> tuple[str, bytes]:
    match document:
        case {
            "mediaType": str(media),
            "verificationMaterial": {"publicKey": {"hint": str(hint), **more_key}, **material},
            "dsseEnvelope": {
                "payload": str(payload),
                "payloadType": str(kind),
                "signatures": [{"sig": str(), **more_signature}],
                **more_envelope,
            },
            **rest,
        } if (
            media == _MEDIA_TYPE
            and kind == _PAYLOAD_TYPE
            and not more_key
            and not more_envelope
            and not rest
            and set(more_signature) <= {"keyid"}
            and material in ({}, {"tlogEntries": []})
        ):
            try:
                return hint, base64.b64decode(payload, validate=True)
            except ValueError:
                raise MalformedError(f"{_SIGNATURE}: malformed, expected a payload in base64") from None
    raise MalformedError(
        f"{_SIGNATURE}: malformed, expected a Model Signing bundle of one key, without certificate or log entry"
    )


def _require_statement(statement: dict[str, Json]) -> None:
    match statement:
        case {
            "_type": "https://in-toto.io/Statement/v1",
            "predicateType": "https://model_signing/signature/v1.0",
            "subject": [{"name": str(), "digest": {"sha256": str()}}],
            "predicate": {
                "serialization": {
                    "method": "files",
                    "hash_type": "sha256",
                    "allow_symlinks": False,
                    "ignore_paths": list(ignored),
                    **more,
                },
                "resources": list(resources),
                **more_predicate,
            },
            **rest,
        } if not rest and not more and not more_predicate and {str(path) for path in ignored} <= set(_IGNORED):
            names = []
            for resource in resources:
                match resource:
                    case {"name": str(name), "algorithm": "sha256", "digest": str(), **extra} if not extra:
                        names.append(name)
                    case _:
                        raise MalformedError(
                            f"{_SIGNATURE}: malformed resource, expected {{name, algorithm sha256, digest}}"
                        )
            if names != sorted(set(names)) or not all(_NAME.fullmatch(name) for name in names):
                raise RejectedError(f"{_SIGNATURE}: signed file names are not flat, unique and sorted")
            return
    raise RejectedError(
        f"{_SIGNATURE}: unsupported statement, expected v1.0 over whole files with SHA-256 and without links"
    )
