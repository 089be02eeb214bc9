"""The signer (who signs here) and the trust root (whose signatures are believed).

Both lie outside the home, which the adversary may write:

- `SECURE_ML_SIGNER` is the URI of a private key, `file2:/absolute/path.pem` (PEM, PKCS #8, EC P-256, mode 0600).
- `SECURE_ML_TRUST` is a folder: `keys/*.pem` holds public keys, an optional `policy.json` says which of them may
  sign which stage, and `witness/` remembers the last release number that was seen of each model. Whoever may sign
  `release` signs the decision and the release document, whoever may sign `signed_model` the evidence and `model.sig`.

Where neither is there yet, both are made at first use. A verifier takes its key from the trust root, never from
beside what it verifies.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from securesystemslib.signer import CryptoSigner, SSlibKey

from secure_ml.digests import parse_json
from secure_ml.errors import MalformedError, PreconditionError, RejectedError, SecureMLError
from secure_ml.home import read_file

__all__ = ["Signer", "Trust", "keyid_of", "make_signer_and_trust"]

_MAX_KEY_BYTES = 16 << 10
_STAGES = frozenset(
    {
        *("dataset", "validated_dataset", "training_set", "trained_model", "signed_model", "release"),
        *("inference_log", "drift_report", "drift_response", "quarantine_decision", "source_manifest"),
    }
)
_POLICY_NAMES = {
    **{"release_document": "release", "model": "signed_model"},
    **{"source_manifest_seen": "dataset", "source_withdrawal": "dataset"},
}


def keyid_of(public_key: ec.EllipticCurvePublicKey) -> str:
    """Return the SHA-256 of the key's PEM encoding: the same name that a Model Signing bundle gives it."""
    return hashlib.sha256(_pem(public_key)).hexdigest()


def _pem(public_key: ec.EllipticCurvePublicKey) -> bytes:
    return public_key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs with one EC P-256 key, through securesystemslib.

    Attributes:
        public_key: The key that verifies what this signer signs.
        keyid: See `keyid_of`.
    """

    public_key: ec.EllipticCurvePublicKey
    keyid: str
    _signer: CryptoSigner

    @classmethod
    def from_uri(cls, uri: str) -> Signer:
        """Load the signer that `uri` names.

        Raises:
            PreconditionError: Another scheme, a key that others may read, no key, or not EC P-256.
        """
        path = signer_path(uri)
        try:
            mode = path.stat().st_mode
            if mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise PreconditionError(
                    f"signer key {path.name}: others may use it (mode {mode & 0o777:04o}); chmod 0600 it"
                )
            private_key = serialization.load_pem_private_key(read_file(path, max_bytes=_MAX_KEY_BYTES), password=None)
        except PreconditionError:
            raise
        except FileNotFoundError:
            raise PreconditionError(
                f"SECURE_ML_SIGNER: there is no key at {path}; put it back, or remove the trust root too "
                "so that both are made anew"
            ) from None
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm, SecureMLError) as error:
            raise PreconditionError(
                f"signer key {path.name}: not a readable, unencrypted PEM key ({type(error).__name__})"
            ) from None
        if not isinstance(private_key, ec.EllipticCurvePrivateKey) or not isinstance(private_key.curve, ec.SECP256R1):
            raise PreconditionError(f"signer key {path.name}: expected an EC P-256 key")
        public_key = private_key.public_key()
        keyid = keyid_of(public_key)
        return cls(
            public_key,
            keyid,
            CryptoSigner(private_key, SSlibKey.from_crypto(public_key, keyid=keyid)),
        )

    def sign(self, payload: bytes) -> bytes:
        """Return the ECDSA signature (SHA-256, DER) of `payload`."""
        return bytes.fromhex(self._signer.sign(payload).signature)


def signer_path(uri: str) -> Path:
    """Return the file that a `file2:` URI names.

    Raises:
        PreconditionError: Another scheme, or a path that is not absolute.
    """
    parts = urlsplit(uri)
    path = Path(parts.path)
    if parts.scheme != "file2" or not path.is_absolute():
        raise PreconditionError("SECURE_ML_SIGNER: expected file2: and an absolute path")
    return path


@dataclass(frozen=True, slots=True)
class Trust:
    """The trust root.

    Attributes:
        root: Its folder.
        keys: Key id to public key.
        stages: Stage to the key ids that may sign it; a stage that is not named may be signed by every key.
    """

    root: Path
    keys: Mapping[str, ec.EllipticCurvePublicKey]
    stages: Mapping[str, frozenset[str]]

    @classmethod
    def load(cls, root: Path) -> Trust:
        """Load a trust root.

        Raises:
            PreconditionError: No key in it, a key that is not EC P-256, or a malformed policy.
        """
        keys: dict[str, ec.EllipticCurvePublicKey] = {}
        folder = root / "keys"
        for path in sorted(folder.glob("*.pem")) if folder.is_dir() else []:
            try:
                key = serialization.load_pem_public_key(read_file(path, max_bytes=_MAX_KEY_BYTES))
            except (ValueError, UnsupportedAlgorithm, SecureMLError) as error:
                raise PreconditionError(
                    f"trust root: {path.name} is not a PEM public key ({type(error).__name__})"
                ) from None
            if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
                raise PreconditionError(f"trust root: {path.name} is not an EC P-256 key")
            keys[keyid_of(key)] = key
        if not keys:
            raise PreconditionError(f"SECURE_ML_TRUST: no public key in {folder}; put the signer's public key there")
        return cls(root, keys, _load_policy(root / "policy.json", keys))

    def key(self, keyid: str, stage: str, where: str) -> ec.EllipticCurvePublicKey:
        """Return the trusted key `keyid`, where it may sign `stage`.

        Raises:
            RejectedError: Foreign key, or one that may not sign this stage.
        """
        if keyid not in self.keys:
            raise RejectedError(f"{where}: signed by a key that is not in the trust root")
        name = _POLICY_NAMES.get(stage, stage)
        if keyid not in self.stages.get(name, self.keys):
            raise RejectedError(f"{where}: its key may not sign {name} (policy.json of the trust root)")
        return self.keys[keyid]

    def key_file(self, keyid: str) -> Path | None:
        """Return where the public key `keyid` lies, None where its file is gone since."""
        for path in sorted((self.root / "keys").glob("*.pem")):
            key = serialization.load_pem_public_key(read_file(path, max_bytes=_MAX_KEY_BYTES))
            if isinstance(key, ec.EllipticCurvePublicKey) and keyid_of(key) == keyid:
                return path
        return None


def _load_policy(path: Path, keys: Mapping[str, object]) -> dict[str, frozenset[str]]:
    if not path.exists():
        return {}
    match parse_json(read_file(path, max_bytes=1 << 20), path.name):
        case {"stages": dict(stages), **rest} if not rest:
            policy: dict[str, frozenset[str]] = {}
            for stage, allowed in stages.items():
                if stage.partition(":")[0] not in _STAGES:
                    raise PreconditionError(
                        f"trust root: policy.json names an unknown stage; expected {', '.join(sorted(_STAGES))}"
                    )
                if not isinstance(allowed, list) or not all(keyid in keys for keyid in allowed):
                    raise PreconditionError(f"trust root: policy.json names an unknown key for {stage}")
                policy[stage] = frozenset(str(keyid) for keyid in allowed)
            return policy
    raise MalformedError('trust root: policy.json must be {"stages": {"<stage>": ["<key id>", ...]}}')


def make_signer_and_trust(uri: str, root: Path) -> None:
    """Make a key (EC P-256, mode 0600) and the trust root that believes it, where neither is there yet.

    Two processes may do this at once: one of them wins, and both use its key.

    Raises:
        PreconditionError: One of the two is there without the other's part, or a folder cannot be written.
    """
    path = signer_path(uri)
    if (root / "keys").is_dir():
        return
    try:
        if not path.exists():
            _make_key(path)
        public_key = Signer.from_uri(uri).public_key
        fresh = root.parent / f".{root.name}-{secrets.token_hex(8)}"
        (fresh / "keys").mkdir(mode=0o700, parents=True)
        (fresh / "keys" / "signer.pem").write_bytes(_pem(public_key))
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            (fresh / "keys").rename(root / "keys")
        except OSError:
            if not (root / "keys").is_dir():
                raise
            (fresh / "keys" / "signer.pem").unlink()
            (fresh / "keys").rmdir()
        fresh.rmdir()
    except OSError as error:
        raise PreconditionError(
            f"signer and trust root cannot be made ({error.strerror}: {error.filename}); "
            "set SECURE_ML_SIGNER and SECURE_ML_TRUST to places you may write"
        ) from None


def _make_key(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(pem)
        stream.flush()
        os.fsync(stream.fileno())
    try:
        path.hardlink_to(fresh)
    except FileExistsError:
        return
    finally:
        fresh.unlink()
