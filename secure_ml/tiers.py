"""Tier rules: what a rule's tier, `warn` or `block`, does where a stage runs.

Under `production`, the default, a batch that breaks a blocking rule is rejected. Under `experiment` it is accepted with
a warning, so that research is not held up, and nothing that was trained on it is signed or released. The tier rules are
part of the cause and of the signed inputs of every decision made under them. A stage takes evidence of its own tier
rules only: a batch that `experiment` accepted is validated again under `production`.
"""

from __future__ import annotations

from typing import Literal

from secure_ml.errors import PreconditionError, RejectedError

__all__ = ["TierRules", "parse_tier_rules", "require_production"]

TierRules = Literal["experiment", "production"]


def parse_tier_rules(text: str) -> TierRules:
    """Parse the value of `SECURE_ML_POLICY`; an empty text means `production`.

    Raises:
        PreconditionError: If the text names no tier rules. A misspelt name is never taken for another.
    """
    match text:
        case "" | "production":
            return "production"
        case "experiment":
            return "experiment"
    raise PreconditionError("SECURE_ML_POLICY: expected production or experiment, found neither")


def require_production(tier_rules: TierRules, where: str) -> None:
    """Reject a signature or a release under any tier rules but `production`.

    Raises:
        RejectedError: If the tier rules are `experiment`.
    """
    if tier_rules != "production":
        raise RejectedError(
            f"{where}: nothing is signed or released under policy {tier_rules}; set SECURE_ML_POLICY=production, under "
            "which the batches are validated and the model is trained afresh"
        )
