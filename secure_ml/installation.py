"""The installation: home, signer, trust root and tier rules, read from the environment once per program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from secure_ml.errors import PreconditionError
from secure_ml.home import Home
from secure_ml.signing.keys import Signer, signer_path
from secure_ml.signing.trust import Trust, create_signer_and_trust
from secure_ml.tiers import TierRules, parse_tier_rules

__all__ = ["Installation"]


@dataclass(frozen=True, slots=True)
class Installation:
    """Configuration of one installation.

    Attributes:
        home: Home of all state. The adversary may write here.
        trust: Trust root that verifies signatures.
        signer_uri: URI of the signing key. Only a process that signs loads the key.
        policy: Tier rules: a blocking rule blocks under `production` and warns under `experiment`.
    """

    home: Home
    trust: Trust
    signer_uri: str
    policy: TierRules = "production"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Installation:
        """Read `SECURE_ML_HOME`, `_SIGNER`, `_TRUST` and `_POLICY`, and create signer and trust root at first use.

        Raises:
            PreconditionError: If signer or trust root lie in the home, or cannot be created or read, or the policy is
                unknown.
        """
        home = Home.from_environment(environment)
        signer_uri, trust_root = _signer_and_trust(environment)
        for name, path in (("SECURE_ML_SIGNER", signer_path(signer_uri)), ("SECURE_ML_TRUST", trust_root)):
            if path.resolve().is_relative_to(home.root):
                raise PreconditionError(
                    f"{name}: lies in the home, where keys prove nothing; move it out of {home.root}"
                )
        policy = parse_tier_rules(environment.get("SECURE_ML_POLICY", ""))
        create_signer_and_trust(signer_uri, trust_root)
        return cls(home, Trust.load(trust_root), signer_uri, policy)

    @classmethod
    def for_verification(cls, environment: Mapping[str, str]) -> Installation:
        """Read the same variables for a process that never signs. It creates nothing and needs no private key.

        Raises:
            PreconditionError: If the trust root is missing or lies in the home.
        """
        home = Home.from_environment(environment)
        signer_uri, trust_root = _signer_and_trust(environment)
        if trust_root.resolve().is_relative_to(home.root):
            raise PreconditionError(
                f"SECURE_ML_TRUST: lies in the home, where keys prove nothing; move it out of {home.root}"
            )
        return cls(home, Trust.load(trust_root), signer_uri)

    def signer(self) -> Signer:
        """Load the signer.

        Raises:
            PreconditionError: If there is no usable key, or the trust root does not hold its public key.
        """
        signer = Signer.from_uri(self.signer_uri)
        if signer.keyid not in self.trust.keys:
            raise PreconditionError(
                "SECURE_ML_SIGNER: the public key is not in the trust root (SECURE_ML_TRUST/keys/*.pem); "
                "add it, or use the signer that belongs to this trust root"
            )
        return signer


def _signer_and_trust(environment: Mapping[str, str]) -> tuple[str, Path]:
    configuration = Path(environment.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "secure_ml"
    signer_uri = environment.get("SECURE_ML_SIGNER") or f"file2:{configuration.absolute() / 'signer.pem'}"
    trust_root = Path(environment.get("SECURE_ML_TRUST") or configuration / "trust")
    return signer_uri, trust_root.absolute()
