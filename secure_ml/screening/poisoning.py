"""Screens for poisoned training data: four ways to look at rows that satisfy the contract and yet do not belong.

Poison that satisfies the contract is kept out by knowing where data comes from; these screens only warn. They look at
features and label of all rows of a training set at once, and flag rows:

- `confident_learning`: a label that out-of-fold predictions of a logistic regression contradict (cleanlab).
- `neighbours`: a label that at least 8 of the 10 nearest rows contradict.
- `spectral_signature`: a row that stands out along the direction in which its class varies most, as rows with a
  backdoor's trigger do. At this stage there is no learned representation: the features themselves are looked at.
- `near_duplicates`: a row with at least five others next to it, much nearer than rows lie to each other.

Clean data has such rows too, and hard problems have many. So a batch is held against the **anchor**, the batch that
gives the holdout: there is a finding where more of its rows are flagged than of the anchor's, by a margin that one
clean batch in a thousand would show, in each screen. The anchor itself is held against the worst clean data of the
measurement.

Each finding says how good its screen was when poison was planted in real data; `docs/poisoning.md` has all figures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from secure_ml.contracts.findings import Finding
from secure_ml.errors import PreconditionError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["MAX_ROWS", "SCREENS", "Screen", "compare_batches", "flag_rows", "screen_poisoning"]

MAX_ROWS = 10_000
_DEVIATION = 1.4826  # makes a median deviation the standard one, of a normal distribution
_ALARM = 1e-3
_RARE = 1e-3  # what was never measured is still possible
_NEIGHBOURS = 10
_CONTRADICTING = 0.8
_COPIES = 5
_NEXT_TO = 0.1  # of the median distance to the nearest other row
_FOLDS = 5
_CLIP = 4.0  # standard deviations; a feature that is nearly constant would drown all others
_OUTLYING = 3.0  # robust standard deviations, of the median


@dataclass(frozen=True, slots=True)
class Screen:
    """One screen, with what was measured of it.

    Attributes:
        said: What its rows are, for people.
        against: The poison that it is for.
        recall: Share of the poisoned rows that it flagged, where 5 % of a batch are poison; mean of three data sets.
        false_alarms: Share of the clean rows that it flagged; mean of the same.
        worst: The largest share of the rows of clean data that it flagged.
    """

    said: str
    against: str
    recall: float
    false_alarms: float
    worst: float


# Measured by `python -m tests.attacks.poisoning_figures`; a test holds them against other poison.
SCREENS = {
    "confident_learning": Screen("have a label that predictions contradict", "flipped labels", 0.77, 0.051, 0.123),
    "neighbours": Screen("have a label that their neighbours contradict", "flipped labels", 0.77, 0.032, 0.074),
    "spectral_signature": Screen("stand out from their class", "rows with a trigger", 0.96, 0.018, 0.036),
    "near_duplicates": Screen("are near-copies of each other", "copies", 1.0, 0.0, 0.0),
}


def screen_poisoning(
    x: NDArray[np.float64], y: NDArray[np.int64], batches: Sequence[str], *, anchor: str
) -> tuple[Finding, ...]:
    """Hold each batch of a training set against the anchor; the findings warn.

    Args:
        x: Features, shape (n, d), NaN where missing.
        y: Labels, shape (n,).
        batches: Which batch each row is of, shape (n,).
        anchor: The batch that the others are held against.

    Raises:
        PreconditionError: No row is of the anchor.
    """
    import numpy as np

    sampled = len(y) > MAX_ROWS
    if sampled:
        kept = np.sort(np.random.default_rng(0).choice(len(y), MAX_ROWS, replace=False))
        x, y, batches = x[kept], y[kept], [batches[index] for index in kept]
    return compare_batches(flag_rows(x, y), batches, anchor=anchor, sampled=sampled)


def compare_batches(
    flags: Mapping[str, NDArray[np.bool_]], batches: Sequence[str], *, anchor: str, sampled: bool = False
) -> tuple[Finding, ...]:
    """Return a finding for each screen and batch of which unusually many rows are flagged.

    Args:
        flags: For each screen, which rows it flagged, shape (n,).
        batches: As in `screen_poisoning`.
        anchor: As in `screen_poisoning`.
        sampled: Whether the rows are a sample of the batches; findings say so.

    Raises:
        PreconditionError: No row is of the anchor: held against nothing, nothing is unusual.
    """
    import numpy as np

    if anchor not in batches:
        raise PreconditionError(f"poisoning screens: no row of batch {anchor}, which the others are held against")
    of = np.asarray(batches)
    rows_said = "sampled rows" if sampled else "rows"
    found: list[Finding] = []
    for rule, flagged in flags.items():
        screen = SCREENS[rule]
        anchored = flagged[of == anchor]
        for batch in dict.fromkeys(batches):
            own = flagged[of == batch]
            count, rows = int(own.sum()), len(own)
            if batch == anchor:
                unusual = _binomial_tail(count, rows, max(screen.worst, _RARE)) < _ALARM
                against = f"at most {screen.worst:.1%} of clean data"
            else:
                unusual = _hypergeometric_tail(count, rows, int(anchored.sum()), len(anchored)) < _ALARM
                against = f"{int(anchored.sum())} of {len(anchored)} in {anchor}"
            if unusual:
                measured = (
                    f"finds {screen.recall:.0%} of {screen.against}, and flags {screen.false_alarms:.1%} of clean rows"
                )
                sentence = (
                    f"batch {batch}: {count} of {rows} {rows_said} {screen.said}, {against} (measured: this screen "
                    f"{measured})"
                )
                found.append(Finding(None, rule, count, rows, "warn", sentence, "poisoning", "screen"))
    return tuple(found)


def flag_rows(x: NDArray[np.float64], y: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
    """Return what each screen flags, by its name; rows too few to be told anything about are not flagged.

    Args:
        x: Features, shape (n, d), NaN where missing.
        y: Labels, shape (n,).

    Returns:
        For each screen, shape (n,).
    """
    import numpy as np

    none = np.zeros(len(y), dtype=np.bool_)
    classes, counts = np.unique(y, return_counts=True)
    if len(classes) < 2 or counts.min() < _FOLDS or len(y) <= _NEIGHBOURS:
        return dict.fromkeys(SCREENS, none)
    y = np.searchsorted(classes, y)
    z = _scaled(x)
    neighbours, copies = _by_distance(z, y)
    return {
        "confident_learning": _confident_learning(z, y),
        "neighbours": neighbours,
        "spectral_signature": _spectral_signature(z, y),
        "near_duplicates": copies,
    }


def _scaled(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return features with mean 0 and deviation 1, the median where missing, without those that never vary."""
    import numpy as np

    x = x[:, ~np.isnan(x).all(axis=0)]
    x = np.where(np.isnan(x), np.nanmedian(x, axis=0), x)
    deviation = x.std(axis=0)
    varies = deviation > 0
    z: NDArray[np.float64] = (x[:, varies] - x[:, varies].mean(axis=0)) / deviation[varies]
    return z if z.shape[1] else np.zeros((len(x), 1))


def _confident_learning(z: NDArray[np.float64], y: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Source: Northcutt, Jiang and Chuang 2021, Confident Learning, section 3."""
    import numpy as np
    from cleanlab.filter import find_label_issues
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=0)
    predicted = cross_val_predict(LogisticRegression(max_iter=200), z, y, cv=folds, method="predict_proba")
    return np.asarray(find_label_issues(y, predicted, n_jobs=1), dtype=np.bool_)


def _by_distance(z: NDArray[np.float64], y: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the rows whose neighbours contradict the label, and those that are near-copies of others."""
    import numpy as np
    from sklearn.neighbors import NearestNeighbors

    distances, indices = NearestNeighbors(n_neighbors=_NEIGHBOURS).fit(z).kneighbors()
    contradicted = (y[indices] != y[:, None]).mean(axis=1) >= _CONTRADICTING
    apart = distances[:, 0][distances[:, 0] > 0]
    near = _NEXT_TO * float(np.median(apart)) if len(apart) else 0.0
    return contradicted, (distances <= near).sum(axis=1) >= _COPIES


def _spectral_signature(z: NDArray[np.float64], y: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Flag outliers along the first singular vector of each class.

    Source: Tran, Li and Madry 2018, Spectral Signatures in Backdoor Attacks, algorithm 1; the share of poison is not
    known here, so a row is flagged by its distance from the median of its class and not by its rank.
    """
    import numpy as np

    clipped = np.clip(z, -_CLIP, _CLIP)
    flagged = np.zeros(len(y), dtype=np.bool_)
    for label in np.unique(y):
        rows = np.flatnonzero(y == label)
        centred = clipped[rows] - clipped[rows].mean(axis=0)
        projected = centred @ np.linalg.svd(centred, full_matrices=False)[2][0]
        away = np.abs(projected - np.median(projected))
        flagged[rows] = away > _OUTLYING * _DEVIATION * max(float(np.median(away)), 1e-9)  # not 0: half may be alike
    return flagged


def _hypergeometric_tail(count: int, rows: int, others: int, other_rows: int) -> float:
    """Return P(at least `count` flagged among `rows`) if `rows` are drawn from both (Fisher's exact test)."""
    from scipy.stats import hypergeom

    return float(hypergeom.sf(count - 1, rows + other_rows, count + others, rows))


def _binomial_tail(count: int, rows: int, share: float) -> float:
    """Return P(at least `count` of `rows` flagged) if each is flagged with probability `share`, in (0, 1)."""
    from scipy.stats import binom

    return float(binom.sf(count - 1, rows, share))
