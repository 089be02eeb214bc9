"""The installation: home, signer and trust root, read from the environment when a run starts."""

from __future__ import annotations

from secure_ml.orchestration.resource import InstallationResource

__all__ = ["installation"]

installation = InstallationResource()
