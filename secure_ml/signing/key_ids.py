"""Key ids: the name of a public key, derived from the key itself."""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

__all__ = ["MAX_KEY_BYTES", "keyid_of", "public_pem"]

MAX_KEY_BYTES = 16 << 10
"""Largest key file that is read."""


def keyid_of(public_key: ec.EllipticCurvePublicKey) -> str:
    """Return the SHA-256 of the key's PEM encoding, which a Model Signing bundle uses as its name too."""
    return hashlib.sha256(public_pem(public_key)).hexdigest()


def public_pem(public_key: ec.EllipticCurvePublicKey) -> bytes:
    """Render a public key as PEM, SubjectPublicKeyInfo."""
    return public_key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
