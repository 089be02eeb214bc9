"""The trust root: the public keys whose signatures a verifier accepts, in a folder outside the home.

`SECURE_ML_TRUST` is the folder. `keys/*.pem` holds the public keys, an optional `policy.json` names the keys that may
sign each stage, and `witness/` holds the newest release number seen of each model. A key that may sign `release` signs
the decision and the release document. A key that may sign `signed_model` signs the evidence and `model.sig`.

A verifier takes its keys from the trust root, never from beside the file that it verifies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from secure_ml.digests import parse_json
from secure_ml.errors import MalformedError, PreconditionError, RejectedError, SecureMLError
from secure_ml.safe_files import create_folder, read_file
from secure_ml.signing.key_ids import MAX_KEY_BYTES, keyid_of, public_pem
from secure_ml.signing.keys import Signer, create_key, signer_path
from secure_ml.stage_names import SIGNED_AS, SIGNING_STAGES

__all__ = ["Trust", "create_signer_and_trust"]


@dataclass(frozen=True, slots=True)
class Trust:
    """The trusted public keys, and the stages that each of them may sign.

    Attributes:
        root: Folder of the trust root.
        keys: Public keys by key id.
        stages: Key ids that may sign a stage, by stage. Every key may sign a stage that is not listed.
    """

    root: Path
    keys: Mapping[str, ec.EllipticCurvePublicKey]
    stages: Mapping[str, frozenset[str]]

    @classmethod
    def load(cls, root: Path) -> Trust:
        """Load a trust root.

        Raises:
            PreconditionError: If the folder holds no key, or a key that is not EC P-256.
            MalformedError: If `policy.json` is malformed.
        """
        keys: dict[str, ec.EllipticCurvePublicKey] = {}
        folder = root / "keys"
        for path in sorted(folder.glob("*.pem")) if folder.is_dir() else []:
            try:
                key = serialization.load_pem_public_key(read_file(path, max_bytes=MAX_KEY_BYTES))
            except (ValueError, UnsupportedAlgorithm, SecureMLError) as error:
                raise PreconditionError(
                    f"trust root: {path.name} is unreadable ({type(error).__name__}), expected a PEM public key"
                ) from None
            if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
                raise PreconditionError(f"trust root: {path.name} is an unsupported kind of key, expected EC P-256")
            keys[keyid_of(key)] = key
        if not keys:
            raise PreconditionError(f"SECURE_ML_TRUST: no public key in {folder}; copy the signer's public key into it")
        return cls(root, keys, _load_policy(root / "policy.json", keys))

    def key(self, keyid: str, stage: str, where: str) -> ec.EllipticCurvePublicKey:
        """Return the trusted key `keyid` if it may sign `stage`.

        Args:
            keyid: Key id that a signature names.
            stage: Stage of the signed document.
            where: Name of the document, for the message.

        Raises:
            RejectedError: If the key is not in the trust root or may not sign this stage.
        """
        if keyid not in self.keys:
            raise RejectedError(f"{where}: signed by a key that is not in the trust root")
        name = SIGNED_AS.get(stage, stage)
        if keyid not in self.stages.get(name, self.keys):
            raise RejectedError(f"{where}: its key may not sign {name}; see policy.json in the trust root")
        return self.keys[keyid]

    def key_file(self, keyid: str) -> Path | None:
        """Return the file of the public key `keyid`, or None if it was removed since the trust root was loaded."""
        for path in sorted((self.root / "keys").glob("*.pem")):
            key = serialization.load_pem_public_key(read_file(path, max_bytes=MAX_KEY_BYTES))
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
                if stage.partition(":")[0] not in SIGNING_STAGES:
                    raise PreconditionError(
                        "trust root: policy.json names an unknown stage, expected one of "
                        f"{', '.join(sorted(SIGNING_STAGES))}"
                    )
                if not isinstance(allowed, list) or not all(keyid in keys for keyid in allowed):
                    raise PreconditionError(
                        f"trust root: policy.json names an unknown key for {stage}, expected ids of keys in keys/"
                    )
                policy[stage] = frozenset(str(keyid) for keyid in allowed)
            return policy
    raise MalformedError('trust root: policy.json is malformed, expected {"stages": {"<stage>": ["<key id>", ...]}}')


def create_signer_and_trust(uri: str, root: Path) -> None:
    """Create a signing key and a trust root that trusts it, unless the trust root exists.

    The key is EC P-256, and its file has mode 0600. Two processes may do this at once. One of them wins, and both use
    its key.

    Raises:
        PreconditionError: If the existing key cannot be used, or a folder cannot be written.
    """
    path = signer_path(uri)
    if (root / "keys").is_dir():
        return
    try:
        if not path.exists():
            create_key(path)
        public_key = Signer.from_uri(uri).public_key
        create_folder(root / "keys", {"signer.pem": public_pem(public_key)}, drafts=root)
    except OSError as error:
        raise PreconditionError(
            f"signer and trust root: cannot be created ({error.strerror}: {error.filename}); "
            "set SECURE_ML_SIGNER and SECURE_ML_TRUST to paths that you can write"
        ) from None
