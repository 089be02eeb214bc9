"""The conformance check of a guarded model before anything runs: `secure-ml check NAME`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from secure_ml.contracts.request_rules import request_rules
from secure_ml.errors import SecureMLError
from secure_ml.safe_files import read_file
from secure_ml.spec import GuardedModel
from secure_ml.tables.batch_files import count_rows, open_batch

__all__ = ["check_model"]


def check_model(model: GuardedModel) -> list[str]:
    """Return the faults of a model's definition, one sentence each. Empty if the model is ready to run."""
    return [f"{model.name}: {sentence}" for law in _LAWS for sentence in law(model)]


def _contract(model: GuardedModel) -> Iterator[str]:
    try:
        columns = model.schema.columns
    except (TypeError, ValueError, AttributeError) as error:
        yield f"contract: wrong type ({type(error).__name__}), expected a pandera schema for Polars"
        return
    for name in model.batches.columns:
        if name not in columns:
            yield f"contract: lacks column {name} of batches.columns; add it to the contract"
    for name in columns:
        if name not in model.batches.columns:
            yield f"batches.columns: lacks column {name} of the contract; add it to batches.columns"
    for name in model.features:
        if name in columns and (columns[name].dtype is None or not _is_numeric(columns[name].dtype)):
            yield f"contract of {name}: wrong type of a feature, expected a numeric type"
    if model.label in columns and columns[model.label].nullable:
        yield f"contract of {model.label}: the label is nullable; set nullable=False"
    if all(name in columns for name in model.features):
        try:
            request_rules(model)
        except SecureMLError as error:
            yield str(error)


def _is_numeric(dtype: object) -> bool:
    native = getattr(dtype, "type", dtype)
    is_numeric: Callable[[], bool] | None = getattr(native, "is_numeric", None)
    return is_numeric is not None and is_numeric()


def _batches(model: GuardedModel) -> Iterator[str]:
    for name, path in model.batches.files.items():
        try:
            content = read_file(path, max_bytes=model.batches.max_bytes)
            count_rows(open_batch(content, model.batches, name))
        except SecureMLError as error:
            yield f"batch {name}: {error}"
    known = set(model.batches.files)
    for name, source in model.batches.sources.items():
        try:
            known |= {f"{name}.{batch}" for batch in source.names()}
            if source.require_manifest and source.fetch_manifest() is None:
                yield (
                    f"source {name}: no signed manifest, so each of its batches would be quarantined; sign one with "
                    f"secure-ml dataset sign-manifest FOLDER --source {name} (or, unsafe, require_manifest=False)"
                )
        except SecureMLError as error:
            yield f"source {name}: {error}"
    if model.split.batch not in known:
        yield f"split.batch: {model.split.batch} provides the holdout, but is in no file and no source; add it"
    for name in model.split.live_batches:
        if name not in known:
            yield f"split.live_batches: {name} is neither a file nor in a source; add it to batches"


def _fractions(model: GuardedModel) -> Iterator[str]:
    split, quality, drift = model.split, model.quality, model.drift
    if not 0 < split.holdout_fraction < 1 or not 0 <= split.live_fraction < 1 - split.holdout_fraction:
        yield "split: invalid fractions, expected values between 0 and 1 that leave rows to train on"
    if not 0.5 < quality.min_roc_auc <= 1 or not 0 < quality.min_gain_over_dummy <= 0.5:
        yield "quality: a dummy model would pass; expected min_roc_auc in (0.5, 1] and min_gain_over_dummy in (0, 0.5]"
    if not 0 <= quality.promotion_margin < 0.5:
        yield "quality.promotion_margin: out of range, expected a value in [0, 0.5)"
    if not quality.reason.strip():
        yield "quality.reason: empty; state the reason for these thresholds"
    if not 0 < drift.alpha < 0.5 or not 0 < drift.min_effect < 1 or drift.min_rows < 1:
        yield "drift: out of range, expected alpha in (0, 0.5), min_effect in (0, 1) and min_rows of at least 1"


def _trainer(model: GuardedModel) -> Iterator[str]:
    if not model.artifact_types:
        yield "artifact_types: empty; train once, review the types that the error names, and list them"
    try:
        estimator = model.trainer(model.seed)
    except Exception as error:  # noqa: BLE001 (a user's function may raise anything)
        yield f"trainer: raised {type(error).__name__}, expected an unfitted classifier"
        return
    for method in ("fit", "predict_proba", "get_params"):
        if not callable(getattr(estimator, method, None)):
            yield f"trainer: the returned object has no {method}, expected a scikit-learn classifier"


def _classes(model: GuardedModel) -> Iterator[str]:
    if len(set(model.classes)) != 2:
        yield "classes: equal names, expected two different names"


_LAWS: tuple[Callable[[GuardedModel], Iterator[str]], ...] = (_contract, _batches, _fractions, _classes, _trainer)
