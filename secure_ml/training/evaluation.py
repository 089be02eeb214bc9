"""Evaluation: fit a binary classifier, compare it with a dummy baseline, and apply the promotion rule."""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secure_ml.digests import Json
from secure_ml.errors import PreconditionError
from secure_ml.spec import GuardedModel, Quality

__all__ = ["Evaluation", "Fitted", "fit", "judge", "promote", "render_roc"]

_FOLDS = 10
_MIN_PER_CLASS = 10


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Figures of one fitted model. ROC AUC and Brier score are fractions.

    Attributes:
        cv_roc_auc: ROC AUC of out-of-fold predictions, by stratified 10-fold cross-validation of the training rows.
        holdout_roc_auc: ROC AUC on the fixed holdout.
        holdout_brier: Brier score on the fixed holdout.
        dummy_roc_auc: ROC AUC on the holdout of a classifier that ignores the features.
        dummy_brier: Brier score on the holdout of a classifier that ignores the features.
        training_rows: Number of training rows.
        holdout_rows: Number of rows of the holdout.
    """

    cv_roc_auc: float
    holdout_roc_auc: float
    holdout_brier: float
    dummy_roc_auc: float
    dummy_brier: float
    training_rows: int
    holdout_rows: int

    def as_json(self) -> dict[str, Json]:
        """Return the figures by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Fitted:
    """A fitted classifier with its evaluation.

    Attributes:
        estimator: Classifier fitted on all training rows.
        evaluation: Figures of the classifier.
        reference_scores: Out-of-fold P(positive) of the training rows, shape (n,).
        x: Training features, shape (n, d).
        holdout_x: Holdout features, shape (m, d).
        holdout_y: Holdout labels, shape (m,).
    """

    estimator: Any
    evaluation: Evaluation
    reference_scores: NDArray[np.float64]
    x: NDArray[np.float64]
    holdout_x: NDArray[np.float64]
    holdout_y: NDArray[np.int64]


def fit(
    model: GuardedModel,
    x: NDArray[np.float64],
    y: NDArray[np.int64],
    holdout_x: NDArray[np.float64],
    holdout_y: NDArray[np.int64],
) -> Fitted:
    """Fit the model's estimator and evaluate it.

    Args:
        model: Model that provides the trainer and the seed.
        x: Training features, shape (n, d). A missing value is NaN.
        y: Training labels, shape (n,), 0 or 1.
        holdout_x: Holdout features, shape (m, d).
        holdout_y: Holdout labels, shape (m,), 0 or 1.

    Raises:
        PreconditionError: If a class has fewer than ten training rows, or the holdout has one class only.
    """
    from sklearn.dummy import DummyClassifier
    from sklearn.metrics import brier_score_loss, roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    least = min(int((y == 0).sum()), int((y == 1).sum()))
    if least < _MIN_PER_CLASS or len(np.unique(holdout_y)) < 2:
        raise PreconditionError(
            f"{model.name}: too few rows, expected at least {_MIN_PER_CLASS} training rows of each class and "
            f"both classes in the holdout, found {least} of the rarer class; accept more batches or change the split"
        )
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=model.seed)
    scores = cross_val_predict(model.trainer(model.seed), x, y, cv=folds, method="predict_proba")[:, 1]
    estimator = model.trainer(model.seed).fit(x, y)
    holdout_scores = estimator.predict_proba(holdout_x)[:, 1]
    dummy = DummyClassifier(strategy="prior").fit(x, y).predict_proba(holdout_x)[:, 1]
    evaluation = Evaluation(
        cv_roc_auc=float(roc_auc_score(y, scores)),
        holdout_roc_auc=float(roc_auc_score(holdout_y, holdout_scores)),
        holdout_brier=float(brier_score_loss(holdout_y, holdout_scores)),
        dummy_roc_auc=float(roc_auc_score(holdout_y, dummy)),
        dummy_brier=float(brier_score_loss(holdout_y, dummy)),
        training_rows=len(y),
        holdout_rows=len(holdout_y),
    )
    return Fitted(estimator, evaluation, np.asarray(scores, dtype=np.float64), x, holdout_x, holdout_y)


def judge(evaluation: Evaluation, quality: Quality) -> tuple[str, ...]:
    """Return the reasons why a model is not good enough, in sentences. Empty if it is good enough."""
    figures = {
        "cross-validated ROC AUC": evaluation.cv_roc_auc,
        "holdout ROC AUC": evaluation.holdout_roc_auc,
    }
    reasons = [
        f"{name} {value:.3f} is below {quality.min_roc_auc:.3f}"
        for name, value in figures.items()
        if not value >= quality.min_roc_auc
    ]
    gain = evaluation.holdout_roc_auc - evaluation.dummy_roc_auc
    if not gain >= quality.min_gain_over_dummy:
        reasons.append(f"gain of {gain:.3f} over a dummy classifier is below {quality.min_gain_over_dummy:.3f}")
    if not evaluation.holdout_brier < evaluation.dummy_brier:
        reasons.append("Brier score on the holdout is no better than a dummy classifier's")
    return tuple(reasons)


def promote(
    candidate: NDArray[np.float64], champion: NDArray[np.float64], y: NDArray[np.int64], quality: Quality
) -> tuple[bool, tuple[str, ...]]:
    """Apply the promotion rule: the candidate is no worse than the champion on the same holdout.

    Args:
        candidate: P(positive) of the candidate, shape (m,).
        champion: P(positive) of the champion, shape (m,).
        y: Labels of the holdout, shape (m,).
        quality: Thresholds, which include the margin.

    Returns:
        Whether the candidate is promoted, and the reasons if it is not.
    """
    from sklearn.metrics import roc_auc_score

    new, old = float(roc_auc_score(y, candidate)), float(roc_auc_score(y, champion))
    if new >= old - quality.promotion_margin:
        return True, ()
    return False, (
        f"holdout ROC AUC {new:.4f} of the candidate is below the champion's {old:.4f} "
        f"(allowed margin {quality.promotion_margin})",
    )


def render_roc(fitted: Fitted) -> bytes:
    """Draw the ROC curve on the holdout and the diagonal of the dummy, as a small SVG."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from sklearn.metrics import roc_curve

    false, true, _ = roc_curve(fitted.holdout_y, fitted.estimator.predict_proba(fitted.holdout_x)[:, 1])
    with rc_context({"svg.hashsalt": "secure-ml", "svg.fonttype": "none"}):
        figure = Figure(figsize=(4, 4), layout="constrained")
        axes = figure.subplots()
        axes.plot(false, true, label=f"model, AUC {fitted.evaluation.holdout_roc_auc:.3f}")
        axes.plot([0, 1], [0, 1], "--", label="dummy, AUC 0.5")
        axes.set(xlabel="false positive rate", ylabel="true positive rate", title="ROC on the holdout")
        axes.legend(loc="lower right")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
