"""Attestations: in-toto statements in DSSE envelopes, signed by one key of the trust root.

Verification has four steps, and the code carries their numbers:

1. The bytes are the canonical JSON of one envelope with one signature, exactly as `sign_statement` writes it.
2. The key is in the trust root and may sign this kind of statement.
3. The signature is valid for the payload (securesystemslib).
4. The payload is the canonical JSON of one in-toto statement of the expected type.
"""

from __future__ import annotations

import base64

from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import Signature, SSlibKey

from secure_ml.digests import Json, canonical_json, parse_json
from secure_ml.errors import MalformedError, RejectedError
from secure_ml.signing.keys import Signer
from secure_ml.signing.trust import Trust

__all__ = ["PAYLOAD_TYPE", "STATEMENT_TYPE", "predicate_type", "sign_statement", "verify_statement"]

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"


def predicate_type(stage: str) -> str:
    """Return the predicate type of the evidence of one stage."""
    return f"https://secure-ml.dev/evidence/{stage}/v1"


def sign_statement(stage: str, subjects: dict[str, str], predicate: dict[str, Json], signer: Signer) -> bytes:
    """Sign a statement and return the bytes of its envelope.

    Args:
        stage: Stage whose evidence this is.
        subjects: SHA-256 digests by name.
        predicate: Statement of the stage about the subjects.
        signer: Signer of the stage.
    """
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": subjects[name]}} for name in sorted(subjects)],
        "predicateType": predicate_type(stage),
        "predicate": predicate,
    }
    envelope = Envelope(canonical_json(statement), PAYLOAD_TYPE, {})
    signature = Signature(signer.keyid, signer.sign(envelope.pae()).hex())
    envelope.signatures[signer.keyid] = signature
    return canonical_json(envelope.to_dict())


def verify_statement(content: bytes, stage: str, trust: Trust, where: str) -> tuple[dict[str, str], dict[str, Json]]:
    """Verify an envelope and return its subjects (SHA-256 by name) and its predicate.

    Args:
        content: Bytes of the envelope.
        stage: Expected stage.
        trust: Trust root that the key is taken from.
        where: Name of the document, for messages.

    Raises:
        MalformedError: If the bytes are not the canonical form of such an envelope.
        RejectedError: If the key is not trusted, the signature is invalid or the stage is another one.
    """
    # 1. Canonical envelope.
    document = parse_json(content, where)
    match document:
        case {
            "payload": str(payload_text),
            "payloadType": str(payload_type),
            "signatures": [{"keyid": str(keyid), "sig": str(signature_text), **more}],
            **rest,
        } if not rest and not more and payload_type == PAYLOAD_TYPE:
            pass
        case _:
            raise MalformedError(
                f"{where}: malformed, expected a DSSE envelope with one signature over an in-toto statement"
            )
    try:
        payload = base64.b64decode(payload_text, validate=True)
        signature = base64.b64decode(signature_text, validate=True)
    except ValueError:
        raise MalformedError(f"{where}: malformed, expected payload and signature in base64") from None
    envelope = Envelope(payload, PAYLOAD_TYPE, {keyid: Signature(keyid, signature.hex())})
    if not keyid.isascii() or canonical_json(envelope.to_dict()) != content:
        raise MalformedError(f"{where}: not in canonical form; it was changed after it was signed, restore it")
    # 2. Trusted key.
    public_key = trust.key(keyid, stage, where)
    # 3. Signature.
    try:
        envelope.verify([SSlibKey.from_crypto(public_key, keyid=keyid)], threshold=1)
    except VerificationError:
        raise RejectedError(f"{where}: invalid signature; the document was changed or forged, restore it") from None
    # 4. Canonical statement of the expected type.
    statement = parse_json(payload, where)
    if canonical_json(statement) != payload:
        raise MalformedError(f"{where}: the statement is not in canonical form")
    match statement:
        case {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": list(resources),
            "predicateType": str(kind),
            "predicate": dict(predicate),
            **rest,
        } if not rest:
            if kind != predicate_type(stage):
                raise RejectedError(f"{where}: evidence of another stage, expected {stage}")
            return _parse_subjects(resources, where), predicate
    raise MalformedError(f"{where}: malformed, expected an in-toto statement")


def _parse_subjects(resources: list[Json], where: str) -> dict[str, str]:
    subjects: dict[str, str] = {}
    for resource in resources:
        match resource:
            case {"name": str(name), "digest": {"sha256": str(digest)}} if name not in subjects:
                subjects[name] = digest
            case _:
                raise MalformedError(f"{where}: malformed subject, expected a unique name with a SHA-256 digest")
    return subjects
