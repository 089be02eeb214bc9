"""`GuardedModel`: all that a user says about one model, in one Python file.

Register it through an entry point in the group `secure_ml.models`; nothing else is needed, and nothing in the
platform knows a model's name. `secure-ml check NAME` tells what is missing before anything runs.
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
    """Where batches come from: `secure_ml.datasets.sources` has the ready ones, a class of your own may be another.

    What cannot be had raises `UnavailableError`, what is not as it should be `MalformedError`; neither says a
    credential or a cell.
    """

    @property
    def require_manifest(self) -> bool:
        """Whether each batch must be in the source's signed manifest."""

    def names(self) -> list[str]:
        """Return the batches that are there."""

    def fetch(self, name: str, *, max_bytes: int) -> bytes:
        """Return the bytes of one batch's file, read once; more than `max_bytes` are refused."""

    def fetch_manifest(self) -> bytes | None:
        """Return the signed manifest, None where there is none."""

    def place(self, name: str | None = None) -> str:
        """Return where a batch, or all of them, lie, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batches:
    """Where batches come from: named files, the model's inbox, and sources.

    A batch is one file: Parquet, Arrow IPC, JSON lines or CSV, told by its content.

    Attributes:
        files: Batch name to the file that holds it. In CSV a first line with the column names is optional.
        sources: Source name to source; its batch `january` is called `SOURCE.january`, and nothing else may be.
        columns: All columns of a batch, in the order of a CSV file without a first line of names.
        null: The cells of CSV that stand for a missing value.
        max_bytes: A larger batch is refused unread.
        require_inbox_manifest: Quarantine each batch of the inbox (`<home>/inbox/<model>/<batch>.csv`,
            `.parquet`, `.arrow`, `.jsonl`) whose digest
            is not in the inbox's signed manifest. Where it is off, whoever writes the inbox brings batches in.
    """

    files: Mapping[str, Path] = field(default_factory=dict)
    sources: Mapping[str, Source] = field(default_factory=dict)
    columns: tuple[str, ...]
    null: tuple[str, ...] = ("", "?")
    max_bytes: int = 256 << 20
    require_inbox_manifest: bool = False

    def __post_init__(self) -> None:
        """Refuse source names that could be mistaken for a batch or for the inbox."""
        for name in self.sources:
            if not _NAME.fullmatch(name) or name in ("inbox", "files"):
                raise PreconditionError(
                    "Batches.sources: expected names of lower-case letters, digits and _, other than inbox and files"
                )
        taken = [name for name in self.files if name.split(".")[0] in self.sources]
        if taken:
            raise PreconditionError(f"Batches.files: {taken[0]} is named like a batch of a source; rename it")


@dataclass(frozen=True, slots=True)
class Split:
    """Which rows of one batch are never trained on. Rows are chosen by digest, so equal rows stay together.

    Attributes:
        batch: The batch that gives the rows; a promotion is decided on the same rows for ever. It comes from
            `batches.files` only; the inbox cannot replace it.
        holdout_fraction: Share for the fixed, signed holdout.
        live_fraction: Share kept as live traffic, for trying the service with rows it never saw.
        live_batches: Batches whose rows are live traffic of another kind, sent after the rows above.
    """

    batch: str
    holdout_fraction: float = 0.25
    live_fraction: float = 0.0
    live_batches: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Quality:
    """What a model must reach before it is signed, and how a candidate is promoted.

    Attributes:
        min_roc_auc: Least area under the ROC curve, in 10-fold cross-validation and on the holdout.
        min_gain_over_dummy: Least gain in ROC AUC over a classifier that ignores the features.
        promotion_margin: A candidate may be this much below the champion on the holdout, at most.
        reason: Why these figures; shown wherever the gate is shown.
    """

    min_roc_auc: float
    min_gain_over_dummy: float
    reason: str
    promotion_margin: float = 0.0


@dataclass(frozen=True, slots=True)
class Drift:
    """When a current window counts as drifted, and what answers it.

    Attributes:
        alpha: Family-wise error rate over all features and the prediction (Holm).
        min_effect: Least effect size (Kolmogorov-Smirnov D, Cramer's V) that raises an alarm.
        min_rows: Windows with fewer rows raise no alarm and say so.
        response: `quarantine` keeps the window out of any later training; `retrain` makes a candidate.
    """

    alpha: float = 0.01
    min_effect: float = 0.2
    min_rows: int = 30
    response: Literal["quarantine", "retrain"] = "quarantine"


@dataclass(frozen=True)
class GuardedModel:
    """One model: its data, its contract, how it is trained and when it may serve.

    Attributes:
        name: Lower-case identifier; the key prefix of its assets.
        description: One sentence for people.
        batches: Where the data comes from.
        contract: A pandera schema for Polars (`DataFrameSchema`, or a `DataFrameModel` class) over all columns.
            A check with `raise_warning=True` warns, any other blocks.
        features: Input columns of the model, in order; all numeric.
        label: The column that is predicted; absent in serving.
        positive: Tells from the label column which rows are of the positive class.
        classes: Names of the negative and the positive class.
        trainer: Takes the seed, returns an unfitted scikit-learn classifier with `predict_proba`.
        artifact_types: The exact types that the saved model may hold, reviewed by you.
        split: Which rows are kept out of training.
        quality: Thresholds of the quality gate and the promotion rule.
        drift: When monitoring raises an alarm.
        quarantine: What a broken contract keeps back: the whole `batch`, or only its failing `rows`.
        owners: Dagster owners, e-mail addresses or `team:NAME`.
        seed: Seed of everything that draws.
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
        """Refuse what can never work; `secure-ml check` looks deeper."""
        if not _NAME.fullmatch(self.name):
            raise PreconditionError(
                "GuardedModel.name: expected a lower-case identifier of at most 63 letters, digits and _"
            )
        missing = [name for name in (*self.features, self.label) if name not in self.batches.columns]
        if missing:
            raise PreconditionError(f"{self.name}: batches.columns lacks {', '.join(missing)}")
        if self.label in self.features:
            raise PreconditionError(f"{self.name}: the label {self.label} must not be a feature")

    @property
    def schema(self) -> DataFrameSchema:
        """The contract as a pandera `DataFrameSchema`."""
        to_schema = getattr(self.contract, "to_schema", None)
        schema: DataFrameSchema = to_schema() if to_schema is not None else self.contract
        return schema

    @cached_property
    def code(self) -> Digest:
        """Digest of the file that defines the model: a changed trainer or contract is a new cause."""
        return sha256(Path(inspect.getfile(self.trainer)).read_bytes())

    @cached_property
    def contract_digest(self) -> Digest:
        """Digest of what decides whether a batch is accepted: contract, columns and this file's code."""
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
        PreconditionError: An entry point does not load, or is not a `GuardedModel` of that name.
    """
    return {name: find_model(name) for name in sorted(entry_points(group=ENTRY_POINT_GROUP).names)}


def find_model(name: str) -> GuardedModel:
    """Load one registered model.

    Raises:
        PreconditionError: Not registered, registered twice, does not load, or is not a `GuardedModel`.
    """
    group = entry_points(group=ENTRY_POINT_GROUP)
    found = {entry.value: entry for entry in group if entry.name == name}
    if not found:
        known = ", ".join(sorted(group.names)) or "none"
        raise PreconditionError(f"no model of this name is registered in {ENTRY_POINT_GROUP} (registered: {known})")
    if len(found) > 1:
        raise PreconditionError(f"{name}: registered by more than one package; remove all but one")
    (entry,) = found.values()
    try:
        model = entry.load()
    except (ImportError, AttributeError) as error:
        raise PreconditionError(
            f"{name}: entry point {entry.value} does not load ({type(error).__name__}: {error})"
        ) from error
    if not isinstance(model, GuardedModel):
        raise PreconditionError(f"{name}: entry point {entry.value} is not a GuardedModel")
    if model.name != name:
        raise PreconditionError(f"{name}: entry point {entry.value} gives a model named {model.name}")
    return model
