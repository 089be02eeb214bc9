"""Heart disease in four hospitals (UCI, CC BY 4.0): the default guarded model.

One hospital is one batch, and its faults are real. The contract says what is medically possible and what a patient
record must have; it is not fitted to let a batch pass. Sources of the bounds are clinical commonplaces: a resting
systolic pressure under 50 mmHg or a serum cholesterol under 50 mg/dl is a missing measurement, not a patient.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandera.polars as pa
import polars as pl

from secure_ml.contracts.checks import no_duplicate_rows, null_fraction_at_most
from secure_ml.spec import Batches, Drift, GuardedModel, Quality, Split

__all__ = ["model"]

_DATA = Path(__file__).parent / "heart_disease_data"
_FEATURES = ("age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalach", "exang", "oldpeak")
_COLUMNS = (*_FEATURES, "slope", "ca", "thal", "num")


def _measured(*checks: pa.Check) -> pa.Column:
    """A feature: a few missing cells are clinical routine, a quarter of them is another protocol."""
    shares = [null_fraction_at_most(0.05, warn=True), null_fraction_at_most(0.25)]
    return pa.Column(pl.Float64, [*checks, *shares], nullable=True)


def _one_of(*values: float) -> pa.Check:
    return pa.Check.isin([float(value) for value in values])


def _optional(*checks: pa.Check) -> pa.Column:
    """Not a feature: three of the four hospitals hardly record it."""
    return pa.Column(pl.Float64, list(checks), nullable=True)


_CONTRACT = pa.DataFrameSchema(
    {
        "age": _measured(pa.Check.in_range(0, 120)),  # years
        "sex": _measured(_one_of(0, 1)),
        "cp": _measured(_one_of(1, 2, 3, 4)),  # kind of chest pain
        "trestbps": _measured(pa.Check.in_range(50, 300)),  # mmHg, at rest; 0 is "not measured"
        "chol": _measured(pa.Check.in_range(50, 1000)),  # mg/dl; nobody lives with 0
        "fbs": _measured(_one_of(0, 1)),  # fasting blood sugar over 120 mg/dl
        "restecg": _measured(_one_of(0, 1, 2)),
        "thalach": _measured(pa.Check.in_range(40, 250)),  # highest heart rate reached, per minute
        "exang": _measured(_one_of(0, 1)),  # angina under exercise
        "oldpeak": _measured(pa.Check.in_range(-10, 10)),  # ST depression in mm; negative is an elevation
        "slope": _optional(_one_of(1, 2, 3)),
        "ca": _optional(_one_of(0, 1, 2, 3)),
        "thal": _optional(_one_of(3, 6, 7)),
        "num": pa.Column(pl.Float64, _one_of(0, 1, 2, 3, 4), nullable=False),  # 0: no disease
    },
    checks=[no_duplicate_rows(warn=True)],
    strict=True,
)


def _trainer(seed: int) -> Any:
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    return Pipeline(
        [
            ("impute", SimpleImputer(strategy="median")),
            ("scale", StandardScaler()),
            ("classify", LogisticRegression(max_iter=1000, random_state=seed)),
        ]
    )


model = GuardedModel(
    name="heart_disease",
    description="Angiographic heart disease from ten routine measurements.",
    batches=Batches(
        files={name: _DATA / f"processed.{name}.data" for name in ("cleveland", "hungarian", "switzerland", "va")},
        columns=_COLUMNS,
    ),
    contract=_CONTRACT,
    features=_FEATURES,
    label="num",
    positive=lambda column: column > 0,
    classes=("absent", "present"),
    trainer=_trainer,
    artifact_types=(
        "numpy.dtype",
        "numpy.float64",
        "numpy.ndarray",
        "sklearn.impute._base.SimpleImputer",
        "sklearn.linear_model._logistic.LogisticRegression",
        "sklearn.pipeline.Pipeline",
        "sklearn.preprocessing._data.StandardScaler",
    ),
    split=Split("cleveland", holdout_fraction=0.2, live_fraction=0.2, live_batches=("va",)),
    quality=Quality(
        min_roc_auc=0.80,
        min_gain_over_dummy=0.2,
        reason="Under 0.80 a clinical pre-test estimate is as good; published models on this data reach 0.85 to 0.90.",
    ),
    drift=Drift(response="quarantine"),
)
