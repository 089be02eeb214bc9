"""`GuardedModel`: everything that a user declares about one model, in one Python file.

An entry point in the group `secure_ml.models` registers it, and nothing else is needed. `secure-ml check NAME` reports
what is missing before anything runs.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from secure_ml.digests import Digest, digest_of, sha256
from secure_ml.errors import PreconditionError

if TYPE_CHECKING:
    import polars as pl
    from pandera.polars import DataFrameSchema

__all__ = [
    "ENTRY_POINT_GROUP",
    "Batches",
    "Drift",
    "GuardedModel",
    "Quality",
    "Source",
    "Split",
    "find_model",
    "find_models",
]

ENTRY_POINT_GROUP = "secure_ml.models"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


class Source(Protocol):
    """A source of batches. `secure_ml.datasets.sources` provides several, and your own class may be another.

    A source raises `UnavailableError` if it cannot deliver, and `MalformedError` if its data is invalid. Its messages
    hold
    neither credentials nor cells.
    """

    @property
    def require_manifest(self) -> bool:
        """Whether each batch must be in the source's signed manifest."""

    def names(self) -> list[str]:
        """Return the names of the available batches."""

    def fetch(self, name: str, *, max_bytes: int) -> bytes:
        """Return the bytes of one batch's file, read once, at most `max_bytes`."""

    def fetch_manifest(self) -> bytes | None:
        """Return the signed manifest, or None if the source has none."""

    def location(self, name: str | None = None) -> str:
        """Describe the location of a batch, or of the source, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batches:
    """The batches of a model: named files, the model's inbox, and sources.

    A batch is one file: Parquet, Arrow IPC, JSON lines or CSV, recognised by its content.

    Attributes:
        files: Files by batch name. In CSV a first line with the column names is optional.
        sources: Sources by name. The batch `january` of a source is called `SOURCE.january`.
        columns: All columns of a batch, in the order of a CSV file without a first line of names.
        null: Cells of CSV that stand for a missing value.
        max_bytes: Largest size of a batch. A larger one is rejected unread.
        require_inbox_manifest: Quarantine each batch of the inbox (`<home>/inbox/<model>/<batch>.csv`,
            `.parquet`, `.arrow`, `.jsonl`) whose digest
            is not in the inbox's signed manifest. If it is off, anyone who can write the inbox can add batches.
    """

    files: Mapping[str, Path] = field(default_factory=dict)
    sources: Mapping[str, Source] = field(default_factory=dict)
    columns: tuple[str, ...]
    null: tuple[str, ...] = ("", "?")
    max_bytes: int = 256 << 20
    require_inbox_manifest: bool = False

    def __post_init__(self) -> None:
        """Reject source names that could be confused with a batch or with the inbox."""
        for name in self.sources:
            if not _NAME.fullmatch(name) or name in ("inbox", "files"):
                raise PreconditionError(
                    "Batches.sources: invalid name, expected lower-case letters, digits and _, not inbox or files"
                )
        taken = [name for name in self.files if name.split(".")[0] in self.sources]
        if taken:
            raise PreconditionError(f"Batches.files: {taken[0]} has the name of a batch of a source; rename it")


@dataclass(frozen=True, slots=True)
class Split:
    """The rows of one batch that are never trained on. Rows are chosen by digest, so equal rows stay together.

    Attributes:
        batch: Batch that provides these rows. Every promotion is decided on the same rows. The inbox cannot replace it.
        holdout_fraction: Share of the fixed, signed holdout.
        live_fraction: Share of rows for live traffic, to try the service with rows that it never saw.
        live_batches: Batches whose rows are further live traffic, sent after those rows.
    """

    batch: str
    holdout_fraction: float = 0.25
    live_fraction: float = 0.0
    live_batches: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Quality:
    """The thresholds of a model before it is signed and before it is promoted.

    Attributes:
        min_roc_auc: Smallest area under the ROC curve, in 10-fold cross-validation and on the holdout.
        min_gain_over_dummy: Smallest gain in ROC AUC over a classifier that ignores the features.
        promotion_margin: Largest amount by which a candidate may be below the champion on the holdout.
        reason: Reason for these thresholds, shown wherever the gate is shown.
    """

    min_roc_auc: float
    min_gain_over_dummy: float
    reason: str
    promotion_margin: float = 0.0


@dataclass(frozen=True, slots=True)
class Drift:
    """The thresholds of a drift alarm, and the response to it.

    Attributes:
        alpha: Family-wise error rate over all features and the prediction (Holm).
        min_effect: Smallest effect size (Kolmogorov-Smirnov D, Cramer's V) that raises an alarm.
        min_rows: Smallest window that can raise an alarm.
        response: `quarantine` keeps the window out of any later training, and `retrain` trains a candidate.
    """

    alpha: float = 0.01
    min_effect: float = 0.2
    min_rows: int = 30
    response: Literal["quarantine", "retrain"] = "quarantine"


@dataclass(frozen=True)
class GuardedModel:
    """One model: its data, its contract, its training and the rules for serving it.

    Attributes:
        name: Lower-case identifier, and key prefix of the assets.
        description: One sentence for people.
        batches: Files, inbox and sources of the data.
        contract: A pandera schema for Polars (`DataFrameSchema`, or a `DataFrameModel` class) over all columns.
            A check with `raise_warning=True` warns, and any other check blocks.
        features: Input columns of the model, in order, all numeric.
        label: Column that is predicted. It is absent in serving.
        positive: Function from the label column to a boolean column that marks the positive class.
        classes: Names of the negative and the positive class.
        trainer: Function from the seed to an unfitted scikit-learn classifier with `predict_proba`.
        artifact_types: Exact types that the saved model may hold, reviewed by you.
        split: Rows that are kept out of training.
        quality: Thresholds of the quality gate and the promotion rule.
        drift: Thresholds of a drift alarm, and the response to it.
        quarantine: Extent of a rejection: the whole `batch`, or only its failing `rows`.
        owners: Dagster owners, e-mail addresses or `team:NAME`.
        seed: Seed of every random choice.
    """

    name: str
    description: str
    batches: Batches
    contract: Any
    features: tuple[str, ...]
    label: str
    positive: Callable[[pl.Series], pl.Series]
    trainer: Callable[[int], Any]
    artifact_types: tuple[str, ...]
    split: Split
    quality: Quality
    classes: tuple[str, str] = ("negative", "positive")
    drift: Drift = field(default_factory=Drift)
    quarantine: Literal["batch", "rows"] = "batch"
    owners: tuple[str, ...] = ("team:secure-ml",)
    seed: int = 0

    def __post_init__(self) -> None:
        """Reject a definition that can never work. `secure-ml check` checks more."""
        if not _NAME.fullmatch(self.name):
            raise PreconditionError(
                "GuardedModel.name: invalid, expected a lower-case identifier of at most 63 letters, digits and _"
            )
        missing = [name for name in (*self.features, self.label) if name not in self.batches.columns]
        if missing:
            raise PreconditionError(f"{self.name}: batches.columns lacks {', '.join(missing)}; add the missing columns")
        if self.label in self.features:
            raise PreconditionError(f"{self.name}: the label {self.label} is a feature; remove it from features")

    @property
    def schema(self) -> DataFrameSchema:
        """The contract as a pandera `DataFrameSchema`."""
        to_schema = getattr(self.contract, "to_schema", None)
        schema: DataFrameSchema = to_schema() if to_schema is not None else self.contract
        return schema

    @cached_property
    def code(self) -> Digest:
        """Digest of the file that defines the model. A changed trainer or contract gives a new cause."""
        return sha256(Path(inspect.getfile(self.trainer)).read_bytes())

    @cached_property
    def contract_digest(self) -> Digest:
        """Digest of everything that decides about a batch: contract, columns and the code of this file."""
        return digest_of(
            {
                "code": self.code,
                "columns": list(self.batches.columns),
                "null": list(self.batches.null),
                "quarantine": self.quarantine,
            }
        )


def find_models() -> dict[str, GuardedModel]:
    """Load every registered model, by name.

    Raises:
        PreconditionError: If an entry point does not load, or is not a `GuardedModel` of that name.
    """
    return {name: find_model(name) for name in sorted(entry_points(group=ENTRY_POINT_GROUP).names)}


def find_model(name: str) -> GuardedModel:
    """Load one registered model.

    Raises:
        PreconditionError: If the name is not registered once, or its entry point is no `GuardedModel` of that name.
    """
    group = entry_points(group=ENTRY_POINT_GROUP)
    entries = {entry.value: entry for entry in group if entry.name == name}
    if not entries:
        known = ", ".join(sorted(group.names)) or "none"
        raise PreconditionError(
            f"model: no such name in {ENTRY_POINT_GROUP}, expected one of: {known}; install its package"
        )
    if len(entries) > 1:
        raise PreconditionError(f"{name}: registered by more than one package; remove all but one")
    (entry,) = entries.values()
    try:
        model = entry.load()
    except (ImportError, AttributeError) as error:
        raise PreconditionError(
            f"{name}: entry point {entry.value} does not load ({type(error).__name__}: {error})"
        ) from error
    if not isinstance(model, GuardedModel):
        raise PreconditionError(f"{name}: entry point {entry.value} has the wrong type, expected a GuardedModel")
    if model.name != name:
        raise PreconditionError(
            f"{name}: entry point {entry.value} has another name, expected {name}, found {model.name}"
        )
    return model
