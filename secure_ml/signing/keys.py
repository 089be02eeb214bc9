"""The signer: the private key that signs here, named by a URI outside the home.

`SECURE_ML_SIGNER` is the URI, `file2:/absolute/path.pem` (PEM, PKCS #8, EC P-256, mode 0600).
"""

from __future__ import annotations

import contextlib
import stat
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from securesystemslib.signer import CryptoSigner, SSlibKey

from secure_ml.errors import PreconditionError, RejectedError, SecureMLError
from secure_ml.safe_files import create_file, read_file
from secure_ml.signing.key_ids import MAX_KEY_BYTES, keyid_of

__all__ = ["Signer", "create_key", "signer_path"]


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs with one EC P-256 key, through securesystemslib.

    Attributes:
        public_key: Public key that verifies what this signer signs.
        keyid: Key id of the public key, see `keyid_of`.
    """

    public_key: ec.EllipticCurvePublicKey
    keyid: str
    _signer: CryptoSigner

    @classmethod
    def from_uri(cls, uri: str) -> Signer:
        """Load the signer that `uri` names.

        Raises:
            PreconditionError: If the URI has another scheme, the file is missing, readable by others or not a key, or
                the key is not EC P-256.
        """
        path = signer_path(uri)
        try:
            mode = path.stat().st_mode
            if mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise PreconditionError(
                    f"signer key {path.name}: other users can access it, expected mode 0600, found {mode & 0o777:04o}; "
                    "run chmod 0600 on it"
                )
            private_key = serialization.load_pem_private_key(read_file(path, max_bytes=MAX_KEY_BYTES), password=None)
        except PreconditionError:
            raise
        except FileNotFoundError:
            raise PreconditionError(
                f"SECURE_ML_SIGNER: no key file at {path}; restore it, or remove the trust root as well to start with "
                "a new key"
            ) from None
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm, SecureMLError) as error:
            raise PreconditionError(
                f"signer key {path.name}: unreadable ({type(error).__name__}), expected an unencrypted PEM key"
            ) from None
        if not isinstance(private_key, ec.EllipticCurvePrivateKey) or not isinstance(private_key.curve, ec.SECP256R1):
            raise PreconditionError(f"signer key {path.name}: unsupported kind of key, expected EC P-256")
        public_key = private_key.public_key()
        keyid = keyid_of(public_key)
        return cls(public_key, keyid, CryptoSigner(private_key, SSlibKey.from_crypto(public_key, keyid=keyid)))

    def sign(self, payload: bytes) -> bytes:
        """Return the ECDSA signature (SHA-256, DER) of `payload`."""
        return bytes.fromhex(self._signer.sign(payload).signature)


def signer_path(uri: str) -> Path:
    """Return the file that a `file2:` URI names.

    Raises:
        PreconditionError: If the scheme is another one or the path is not absolute.
    """
    parts = urlsplit(uri)
    path = Path(parts.path)
    if parts.scheme != "file2" or not path.is_absolute():
        raise PreconditionError("SECURE_ML_SIGNER: unsupported URI, expected file2: and an absolute path")
    return path


def create_key(path: Path) -> None:
    """Create an EC P-256 key file of mode 0600; if another process creates it first, keep that one."""
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with contextlib.suppress(RejectedError):  # another process created its key first
        create_file(path, pem, drafts=path.parent)
