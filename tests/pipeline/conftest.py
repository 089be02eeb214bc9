"""Fixtures of the tests of sources: a supplier's folder with one good batch, and a model that takes it from there."""

from __future__ import annotations

from pathlib import Path

import pytest

from secure_ml.datasets.sources import LocalFolder
from secure_ml.spec import GuardedModel
from tests.sources_support import GOOD, model_on


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "supplier"
    path.mkdir()
    (path / "january.csv").write_bytes(GOOD)
    return path


@pytest.fixture
def guarded(folder: Path) -> GuardedModel:
    return model_on(sources={"sales": LocalFolder(folder)})
