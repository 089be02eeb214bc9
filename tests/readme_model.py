"""A user's own package with one model, exactly as the README shows it, installed beside the platform."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def readme_block(language: str, containing: str) -> str:
    blocks = re.findall(rf"```{language}\n(.*?)```", README.read_text(), flags=re.DOTALL)
    (block,) = [block for block in blocks if containing in block]
    return str(block)


def rows(count: int, seed: int, shift: float = 0.0) -> str:
    draw = random.Random(seed)
    lines = ["x,y,target"]
    for _ in range(count):
        x, y = draw.gauss(shift, 1), draw.gauss(0, 1)
        lines.append(f"{x:.4f},{y:.4f},{int(x + y + draw.gauss(0, 0.5) > 0)}")
    return "\n".join(lines) + "\n"


def install(folder: Path) -> Path:
    """Write, build and install the package; return the folder for PYTHONPATH."""
    source = folder / "source" / "my_package"
    source.mkdir(parents=True)
    (source / "__init__.py").write_text("")
    text = readme_block("python", "GuardedModel(")
    (source / "tiny.py").write_text(text)
    (source / "first.csv").write_text(rows(400, seed=1))
    (source.parent / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "my-package"\nversion = "1"\n'
        + readme_block("toml", "entry-points")
        + '[tool.setuptools]\npackages = ["my_package"]\n[tool.setuptools.package-data]\nmy_package = ["*.csv"]\n'
    )
    site = folder / "site"
    subprocess.run(
        [
            *[sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"],
            *["--target", str(site), str(source.parent)],
        ],
        check=True,
        capture_output=True,
    )
    return site


def environment_with(site: Path, environment: dict[str, str]) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"}
    return {**inherited, **environment, "PYTHONPATH": str(site)}
