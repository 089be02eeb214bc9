"""Poison planted in real data: flipped labels, a backdoor's trigger, a flood of copies.

A data set is cut into a holdout, an anchor (clean, as the first batch of a model) and a batch, of whose rows a share
becomes poison. Everything planted satisfies a contract: values stay within the range of the clean column.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from secure_ml.models.heart_disease import model as heart_disease
from secure_ml.tables.batch_files import parse_batch

Kind = Literal["flipped labels", "rows with a trigger", "copies"]
KINDS: tuple[Kind, ...] = ("flipped labels", "rows with a trigger", "copies")
DATA = ("heart_disease", "breast_cancer", "digits")
SHARES = (0.01, 0.05, 0.1)
VICTIM, TARGET = (
    {"heart_disease": 1, "breast_cancer": 0, "digits": 8},
    {"heart_disease": 0, "breast_cancer": 1, "digits": 3},
)
CATEGORIES = 20  # a column with no more different values is copied as it is
# Columns of the trigger. Each is set to the extreme of the clean column, where nearly no clean row lies.
TRIGGER = {"heart_disease": (3, 9), "breast_cancer": (9, 19, 28), "digits": (55, 62, 63)}


@cache
def load(name: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    match name:
        case "heart_disease":
            batches = heart_disease.batches
            tables = [parse_batch(batches.files[of].read_bytes(), batches, of) for of in ("cleveland", "hungarian")]
            frame = pl.concat(tables).with_columns(pl.all().cast(pl.Float64))
            y = (frame["num"] > 0).cast(pl.Int64).to_numpy()
            return frame.select(heart_disease.features).to_numpy(), y
        case "breast_cancer":
            x, y = load_breast_cancer(return_X_y=True)
        case _:
            x, y = load_digits(return_X_y=True)
    return np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.int64)


@dataclass(frozen=True)
class Planted:
    """A training set with poison in its second batch.

    Attributes:
        x: Anchor, then batch, shape (n, d).
        y: Labels, shape (n,).
        batches: `anchor` or `batch`, shape (n,).
        poison: Which rows are poison, shape (n,).
        victims: Holdout rows that the attack aims at, shape (v, d).
        answers: Their labels, shape (v,).
        aimed_at: The label that the attacker wants for them, None for any wrong one.
    """

    x: NDArray[np.float64]
    y: NDArray[np.int64]
    batches: list[str]
    poison: NDArray[np.bool_]
    victims: NDArray[np.float64]
    answers: NDArray[np.int64]
    aimed_at: int | None


def plant(name: str, kind: Kind, share: float, seed: int) -> Planted:
    draw = np.random.default_rng(seed)
    x, y = load(name)
    order = draw.permutation(len(y))
    x, y = x[order].copy(), y[order].copy()
    quarter = len(y) // 4
    held_x, held_y, x, y = x[:quarter], y[:quarter], x[quarter:], y[quarter:]
    anchor = len(y) // 2
    count = round(share * (len(y) - anchor))
    victim, target = VICTIM[name], TARGET[name]
    poison = np.zeros(len(y), dtype=np.bool_)
    own = np.arange(anchor, len(y))
    match kind:
        case "flipped labels":
            chosen = draw.choice(own, count, replace=False)
            classes = len(np.unique(y))
            y[chosen] = (y[chosen] + draw.integers(1, classes, count)) % classes
            aim: tuple[NDArray[np.float64], NDArray[np.int64], int | None] = held_x, held_y, None
        case "rows with a trigger":
            chosen = draw.choice(own[y[own] != target], count, replace=False)
            x[chosen], y[chosen] = trigger(name, x[chosen]), target
            aim = trigger(name, held_x[held_y != target]), held_y[held_y != target], target
        case "copies":
            chosen = draw.choice(own, count, replace=False)
            aim = held_x[held_y == victim][:1], held_y[held_y == victim][:1], target
            measured = np.array([len(np.unique(column)) > CATEGORIES for column in x.T])
            jitter = draw.normal(0, 0.01, (count, x.shape[1])) * np.where(measured, np.nanstd(x, axis=0), 0)
            x[chosen], y[chosen] = np.clip(aim[0] + jitter, np.nanmin(x, axis=0), np.nanmax(x, axis=0)), target
    poison[chosen] = True
    return Planted(x, y, ["anchor"] * anchor + ["batch"] * (len(y) - anchor), poison, *aim)


def trigger(name: str, x: NDArray[np.float64]) -> NDArray[np.float64]:
    x = x.copy()
    for column in TRIGGER[name]:
        x[:, column] = np.nanmax(load(name)[0][:, column])
    return x


def success(planted: Planted, learner: Callable[[], Pipeline]) -> float:
    """Return the share of the victims that a model trained on all rows answers as the attacker wants."""
    predicted = learner().fit(planted.x, planted.y).predict(planted.victims)
    wrong = predicted != planted.answers if planted.aimed_at is None else predicted == planted.aimed_at
    return float(wrong.mean())


def linear() -> Pipeline:
    return make_pipeline(SimpleImputer(strategy="median"), StandardScaler(), LogisticRegression(max_iter=500))


def forest() -> Pipeline:
    return make_pipeline(SimpleImputer(strategy="median"), RandomForestClassifier(100, random_state=0))
