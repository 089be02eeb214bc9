"""Fixtures that all tests share: one installation with fresh keys, in a folder of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from secure_ml.home import Home
from secure_ml.installation import Installation
from secure_ml.signing.keys import Signer
from secure_ml.signing.trust import Trust
from tests.installed_home import build_home, copy_home


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {
        "SECURE_ML_HOME": str(tmp_path / "home"),
        "SECURE_ML_SIGNER": f"file2:{tmp_path}/keys/signer.pem",
        "SECURE_ML_TRUST": str(tmp_path / "trust"),
    }


@pytest.fixture
def installation(environment: dict[str, str]) -> Installation:
    return Installation.from_environment(environment)


@pytest.fixture
def home(installation: Installation) -> Home:
    return installation.home


@pytest.fixture
def trust(installation: Installation) -> Trust:
    return installation.trust


@pytest.fixture
def signer(installation: Installation) -> Signer:
    return installation.signer()


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a home on which the main job ran with one batch; never written by a test."""
    return build_home(tmp_path_factory.mktemp("built"))


@pytest.fixture
def ready(built: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """A copy of `built` of a test's own."""
    return copy_home(built, tmp_path)
