"""Fixtures that all tests share: one installation with fresh keys, in a folder of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from secure_ml.home import Home
from secure_ml.installation import Installation
from secure_ml.signing.keys import Signer
from secure_ml.signing.trust import Trust
from tests.installed_home import SharedHome, copy_home


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
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedHome]:
    """One home on which the main job ran with one batch, for all workers of a session."""
    base = tmp_path_factory.getbasetemp()
    shared = SharedHome((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared_home")
    shared.build()
    yield shared
    shared.require_unchanged()


@pytest.fixture
def built(shared_home: SharedHome) -> Iterator[dict[str, str]]:
    """The environment of the shared home. A test that changes one of its files fails."""
    before = shared_home.state()
    yield shared_home.environment
    assert shared_home.state() == before, "shared home: this test changed a file; write beside and rename instead"


@pytest.fixture
def ready(built: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """A home of a test's own with the content of the shared one."""
    return copy_home(built, tmp_path)
