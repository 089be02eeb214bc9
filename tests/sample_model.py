"""A small guarded model whose contract a test can change: each variant is a file of its own, as an edit would be."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from secure_ml.spec import GuardedModel

_TEXT = """
import pandera.polars as pa
import polars as pl
from pathlib import Path
from secure_ml.contracts.checks import null_fraction_at_most
from secure_ml.spec import Batches, GuardedModel, Quality, Split


def trainer(seed):
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(random_state=seed)


model = GuardedModel(
    name="guarded",
    description="A test's own.",
    batches=Batches(files={}, columns=("x", "y", "target")),
    contract=pa.DataFrameSchema(
        {
            "x": pa.Column(pl.Float64, pa.Check.in_range(-10, HIGHEST)),
            "y": pa.Column(pl.Float64, null_fraction_at_most(0.25), nullable=True),
            "target": pa.Column(pl.Int64, pa.Check.isin([0, 1])),
        }
    ),
    features=("x", "y"),
    label="target",
    positive=lambda column: column == 1,
    trainer=trainer,
    artifact_types=(),
    split=Split("other", holdout_fraction=0.25, live_fraction=0.2),
    quality=Quality(min_roc_auc=0.7, min_gain_over_dummy=0.1, reason="a test's own"),
    quarantine="KEEPS",
)
"""


def guarded_model(folder: Path, *, highest: float = 10, keeps: str = "batch") -> GuardedModel:
    """Return the model whose contract allows x up to `highest`."""
    folder.mkdir(exist_ok=True)
    path = folder / f"guarded_{keeps}_{highest:g}.py"
    path.write_text(_TEXT.replace("HIGHEST", str(highest)).replace("KEEPS", keeps))
    return load(path)


def load(path: Path) -> GuardedModel:
    """Return the model of a file."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.model
    assert isinstance(model, GuardedModel)
    return model


def put_batch(inbox: Path, name: str, rows: list[tuple[object, object, object]]) -> None:
    inbox.mkdir(parents=True, exist_ok=True)
    lines = ["x,y,target", *(",".join(map(str, row)) for row in rows)]
    (inbox / f"{name}.csv").write_text("\n".join(lines) + "\n")
