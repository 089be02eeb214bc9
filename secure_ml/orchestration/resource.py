"""The installation: home, signer and trust root, read from the environment when a run starts."""

from __future__ import annotations

import os

import dagster as dg

from secure_ml.installation import Installation

__all__ = ["InstallationResource"]


class InstallationResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Hands out the installation that the environment configures."""

    def open(self) -> Installation:
        """Return home, signer and trust root of this process."""
        return Installation.from_environment(os.environ)
