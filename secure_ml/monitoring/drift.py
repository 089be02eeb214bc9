"""Drift of a current window against a reference window, by effect size and corrected test.

An alarm needs both a small p-value after Holm's correction and an effect that matters. False alarms and power on real
data are in `docs/drift_alarm.md`.
"""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from secure_ml.digests import Json
from secure_ml.errors import PreconditionError
from secure_ml.spec import Drift

__all__ = ["Comparison", "DriftReport", "Window", "compare", "render_plot"]

PREDICTION = "prediction"
_MAX_CATEGORIES = 10
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Window:
    """Training rows or served rows.

    Attributes:
        features: Names of the features, in the order of the columns of `x`.
        x: Features, shape (n, d). A missing value is NaN.
        scores: P(positive), shape (n,).
    """

    features: tuple[str, ...]
    x: Values
    scores: Values

    def __post_init__(self) -> None:
        """Require shapes that fit together."""
        if self.x.ndim != 2 or self.x.shape != (len(self.scores), len(self.features)):
            raise PreconditionError("window: shapes differ, expected x of shape (n, d), n scores and d feature names")


@dataclass(frozen=True, slots=True)
class Comparison:
    """The comparison of one distribution.

    Attributes:
        name: Name of a feature, `prediction`, or `<feature> missing`.
        test: Name of the test.
        effect_name: Name of the effect size.
        effect: Effect size, from 0 (no difference) to 1.
        p_value: p-value of the test.
        p_adjusted: p-value after Holm's correction over all comparisons.
        alarm: Whether both thresholds are exceeded.
    """

    name: str
    test: str
    effect_name: str
    effect: float
    p_value: float
    p_adjusted: float
    alarm: bool


@dataclass(frozen=True, slots=True)
class DriftReport:
    """All comparisons of two windows.

    Attributes:
        comparisons: Comparison of each feature, of the prediction, and of each share of missing values.
        reference_rows: Rows of the reference window.
        current_rows: Rows of the current window.
        too_few_rows: Whether the current window is too small for an alarm.
        settings: Thresholds of the comparison.
    """

    comparisons: tuple[Comparison, ...]
    reference_rows: int
    current_rows: int
    too_few_rows: bool
    settings: Drift

    @property
    def alarm(self) -> bool:
        """Whether any comparison raises an alarm."""
        return any(item.alarm for item in self.comparisons)

    @property
    def sentence(self) -> str:
        """The verdict, for people."""
        if self.too_few_rows:
            return f"too few rows for a verdict: expected at least {self.settings.min_rows}, found {self.current_rows}"
        alarms = sorted((item for item in self.comparisons if item.alarm), key=lambda item: -item.effect)
        scope = f"{len(self.comparisons)} distributions compared over {self.current_rows} rows"
        if not alarms:
            return f"no drift: {scope}"
        worst = ", ".join(f"{item.name} ({item.effect_name} {item.effect:.2f})" for item in alarms[:3])
        return f"drift alarm: {len(alarms)} of {scope} differ: {worst}"

    def as_json(self) -> dict[str, Json]:
        """Return the figures of each comparison by its name."""
        return {
            item.name: {key: value for key, value in asdict(item).items() if key != "name"} for item in self.comparisons
        }


def compare(reference: Window, current: Window, settings: Drift) -> DriftReport:
    """Compare two windows.

    A measurement is compared by the two-sample Kolmogorov-Smirnov test with effect D. A feature with at most ten
    distinct values is compared by the chi-square test of homogeneity (Fisher's exact test for two values) with effect
    Cramer's V. The share of missing values is compared by Fisher's exact test, and its effect is the difference.

    Raises:
        PreconditionError: If the features differ or the reference window is empty.

    Source: Holm 1979 for the correction, and Cramer 1946, section 21.9, for V.
    """
    if reference.features != current.features or not len(reference.scores):
        raise PreconditionError(
            "drift: windows cannot be compared, expected the same features and rows in the reference"
        )
    results: list[tuple[str, str, str, float, float]] = []
    if len(current.scores):
        pairs = [(name, reference.x[:, i], current.x[:, i]) for i, name in enumerate(reference.features)]
        for name, before, after in [*pairs, (PREDICTION, reference.scores, current.scores)]:
            results.append((name, *_distribution(before[~np.isnan(before)], after[~np.isnan(after)])))
            if np.isnan(before).any() or np.isnan(after).any():
                results.append((f"{name} missing", *_missing(np.isnan(before), np.isnan(after))))
    adjusted = _holm([item[-1] for item in results])
    too_few = len(current.scores) < settings.min_rows
    comparisons = tuple(
        Comparison(
            name=name,
            test=test,
            effect_name=effect_name,
            effect=effect,
            p_value=p_value,
            p_adjusted=p_adjusted,
            alarm=not too_few and p_adjusted < settings.alpha and effect >= settings.min_effect,
        )
        for (name, test, effect_name, effect, p_value), p_adjusted in zip(results, adjusted, strict=True)
    )
    return DriftReport(comparisons, len(reference.scores), len(current.scores), too_few, settings)


def _distribution(before: Values, after: Values) -> tuple[str, str, float, float]:
    from scipy import stats

    if not len(before) or not len(after):
        return "none, a window has no value", "D", 0.0, 1.0
    categories = np.union1d(before, after)
    if len(categories) > _MAX_CATEGORIES:
        result = stats.ks_2samp(before, after)
        return "Kolmogorov-Smirnov", "D", float(result.statistic), float(result.pvalue)
    if len(categories) == 1:
        return "none, one value", "V", 0.0, 1.0
    table = np.array([[(values == category).sum() for category in categories] for values in (before, after)])
    statistic, p_value, _, _ = stats.chi2_contingency(table, correction=False)
    effect = float(np.sqrt(statistic / table.sum()))
    if len(categories) == 2:
        return "Fisher exact", "V", effect, float(stats.fisher_exact(table).pvalue)
    return "chi-square", "V", effect, float(p_value)


def _missing(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> tuple[str, str, float, float]:
    from scipy import stats

    table = np.array([[part.sum(), (~part).sum()] for part in (before, after)])
    effect = abs(float(before.mean()) - float(after.mean()))
    return "Fisher exact", "difference", effect, float(stats.fisher_exact(table).pvalue)


def _holm(p_values: list[float]) -> list[float]:
    """Return Holm-adjusted p-values, in the order of `p_values`."""
    adjusted = [1.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        highest = max(highest, min(1.0, p_values[index] * (len(p_values) - rank)))
        adjusted[index] = highest
    return adjusted


def render_plot(report: DriftReport) -> bytes:
    """Draw each effect size and the threshold, as a small SVG."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    items = report.comparisons[::-1]
    with rc_context({"svg.hashsalt": "secure-ml", "svg.fonttype": "none", "text.parse_math": False}):
        figure = Figure(figsize=(6, 0.6 + 0.28 * max(len(items), 1)), layout="constrained")
        axes = figure.subplots()
        colours = ["tab:red" if item.alarm else "tab:blue" for item in items]
        axes.barh([item.name for item in items], [item.effect for item in items], color=colours)
        axes.axvline(report.settings.min_effect, linestyle="--", color="black")
        axes.set(xlim=(0, 1), xlabel="effect size; red: alarm; dashed: threshold")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
