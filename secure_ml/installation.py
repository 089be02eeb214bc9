"""The configuration of one installation, read from the environment once, where a program is put together."""

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
    """Home, signer, trust root and policy.

    Attributes:
        home: Where state lives; the adversary may write here.
        trust: Whose signatures are believed.
        signer_uri: Who signs here; loaded only by what signs.
        policy: Whether a broken blocking rule blocks here (`production`) or warns (`experiment`).
    """

    home: Home
    trust: Trust
    signer_uri: str
    policy: TierRules = "production"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Installation:
        """Read `SECURE_ML_HOME`, `_SIGNER`, `_TRUST` and `_POLICY`; make signer and trust at first use.

        Raises:
            PreconditionError: Signer or trust root lie in the home, or cannot be made or read; no such policy.
        """
        home = Home.from_environment(environment)
        signer_uri, trust_root = _places(environment)
        for name, place in (("SECURE_ML_SIGNER", signer_path(signer_uri)), ("SECURE_ML_TRUST", trust_root)):
            if place.resolve().is_relative_to(home.root):
                raise PreconditionError(
                    f"{name}: lies in the home; keys beside what they verify prove nothing, move it elsewhere"
                )
        policy = parse_tier_rules(environment.get("SECURE_ML_POLICY", ""))
        create_signer_and_trust(signer_uri, trust_root)
        return cls(home, Trust.load(trust_root), signer_uri, policy)

    @classmethod
    def for_verification(cls, environment: Mapping[str, str]) -> Installation:
        """The same for a process that never signs: nothing is made, and no private key is needed.

        Raises:
            PreconditionError: There is no trust root, or it lies in the home.
        """
        home = Home.from_environment(environment)
        signer_uri, trust_root = _places(environment)
        if trust_root.resolve().is_relative_to(home.root):
            raise PreconditionError("SECURE_ML_TRUST: lies in the home; move it elsewhere")
        return cls(home, Trust.load(trust_root), signer_uri)

    def signer(self) -> Signer:
        """Load the signer.

        Raises:
            PreconditionError: No usable key, or one that the trust root does not believe.
        """
        signer = Signer.from_uri(self.signer_uri)
        if signer.keyid not in self.trust.keys:
            raise PreconditionError(
                "SECURE_ML_SIGNER: its public key is not in the trust root (SECURE_ML_TRUST/keys/*.pem); "
                "add it there, or use the signer that belongs to this trust root"
            )
        return signer


def _places(environment: Mapping[str, str]) -> tuple[str, Path]:
    configuration = Path(environment.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "secure_ml"
    signer_uri = environment.get("SECURE_ML_SIGNER") or f"file2:{configuration.absolute() / 'signer.pem'}"
    trust_root = Path(environment.get("SECURE_ML_TRUST") or configuration / "trust")
    return signer_uri, trust_root.absolute()
