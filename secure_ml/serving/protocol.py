"""Requests to rows and rows to answers: the Open Inference Protocol (REST, JSON), and `/predict` with named fields."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from secure_ml.errors import MalformedError
from secure_ml.serving.served_model import ServedModel

__all__ = ["Answered", "Asked", "parse_infer", "parse_predict", "render_infer", "render_predict"]

MAX_ROWS = 10_000
_FLOATS = {"FP32", "FP64"}
_FLOAT32_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class Asked:
    """A decoded request.

    Attributes:
        x: Features, shape (n, d), NaN where missing.
        request_id: The client's own id, if it gave one.
    """

    x: NDArray[np.float64]
    request_id: str | None


@dataclass(frozen=True, slots=True)
class Answered:
    """What was predicted and logged for one request, by the release that answered.

    Attributes:
        served: The model that answered.
        ids: Record ids, one a row.
        labels: Predicted classes.
        scores: P(positive).
        confidences: P(predicted class).
        request_id: The client's own id, if it gave one.
    """

    served: ServedModel
    ids: list[str]
    labels: list[str]
    scores: list[float]
    confidences: list[float]
    request_id: str | None


class _Tensor(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    data: list[Any] | None = None
    parameters: dict[str, Any] = {}


class _Infer(msgspec.Struct):
    inputs: list[_Tensor]
    id: str | None = None
    parameters: dict[str, Any] = {}
    outputs: list[dict[str, Any]] = []


_INFER = msgspec.json.Decoder(_Infer)
_ANY = msgspec.json.Decoder()


def parse_infer(body: bytes, served: ServedModel) -> Asked:
    """Parse an Open Inference Protocol request: one tensor `features` (n, d), or one tensor a feature.

    Raises:
        MalformedError: Anything else; the message is for the client and holds no value.
    """
    try:
        request = _INFER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError(f"not an inference request: {_reason(error)}") from None
    features = served.features
    tensors = {tensor.name: tensor for tensor in request.inputs}
    if len(tensors) != len(request.inputs):
        raise MalformedError("inputs: two tensors have the same name")
    if set(tensors) == {"features"}:
        tensor = tensors["features"]
        if len(tensor.shape) != 2 or tensor.shape[1] != len(features):
            raise MalformedError(f"features: expected shape [n, {len(features)}]")
        x = _values(tensor, tensor.shape[0] * tensor.shape[1]).reshape(-1, len(features))
    elif set(tensors) == set(features):
        rows = {tuple(tensor.shape) for tensor in tensors.values()}
        if len(rows) != 1 or not (len(shape := next(iter(rows))) == 1 or (len(shape) == 2 and shape[1] == 1)):
            raise MalformedError("inputs: expected the same shape [n] or [n, 1] for each feature")
        x = np.stack([_values(tensors[name], shape[0]) for name in features], axis=1)
    else:
        raise MalformedError(f"inputs: expected one tensor named features, or one each of {', '.join(features)}")
    return Asked(_checked(x), _request_id(request.id))


def parse_predict(body: bytes, served: ServedModel, request_id: str | None) -> Asked:
    """Parse one object with a field a feature, or a list of them.

    Raises:
        MalformedError: Anything else; the message is for the client and holds no value.
    """
    try:
        document = _ANY.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError(f"not JSON: {_reason(error)}") from None
    rows = document if isinstance(document, list) else [document]
    if not 0 < len(rows) <= MAX_ROWS:
        raise MalformedError(f"expected 1 to {MAX_ROWS} rows")
    names = set(served.features)
    values: list[list[Any]] = []
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            raise MalformedError(f"row {index}: expected an object with the fields {', '.join(served.features)}")
        if row.keys() != names:
            missing = [name for name in served.features if name not in row]
            said = f"{missing[0]}: missing" if missing else f"{len(row.keys() - names)} fields are not features"
            raise MalformedError(f"row {index}: {said}")
        values.append([row[name] for name in served.features])
    flat = [value for row in values for value in row]
    for index, value in enumerate(flat):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            row, column = divmod(index, len(served.features))
            raise MalformedError(f"row {row}: {served.features[column]}: expected a number or null")
    return Asked(_checked(_array(flat).reshape(-1, len(served.features))), _request_id(request_id))


def render_infer(answered: Answered) -> bytes:
    """Render the answer of the Open Inference Protocol."""
    rows = len(answered.ids)
    document: dict[str, Any] = {
        "model_name": answered.served.release.model,
        "model_version": str(answered.served.release.number),
        "parameters": {"record_ids": ",".join(answered.ids)},
        "outputs": [
            {"name": "score", "shape": [rows], "datatype": "FP64", "data": answered.scores},
            {"name": "label", "shape": [rows], "datatype": "BYTES", "data": answered.labels},
        ],
    }
    if answered.request_id is not None:
        document["id"] = answered.request_id
    return msgspec.json.encode(document)


def render_predict(answered: Answered) -> bytes:
    """Render the answer for people."""
    rows = zip(answered.ids, answered.labels, answered.confidences, answered.scores, strict=True)
    return msgspec.json.encode(
        {
            "model": answered.served.release.model,
            "release": answered.served.release.number,
            "predictions": [
                {"id": id_, "label": label, "confidence": confidence, "score": score}
                for id_, label, confidence, score in rows
            ],
        }
    )


def _values(tensor: _Tensor, count: int) -> NDArray[np.float64]:
    if "binary_data_size" in tensor.parameters or tensor.data is None:
        raise MalformedError(f"{tensor.name[:40]!r}: binary tensors are not served; send data as JSON")
    if tensor.datatype not in _FLOATS:
        raise MalformedError(f"{tensor.name[:40]!r}: expected datatype FP32 or FP64")
    if count < 1 or min(tensor.shape) < 1:
        raise MalformedError(f"{tensor.name[:40]!r}: expected a shape of at least one row")
    if tensor.shape[0] > MAX_ROWS:
        raise MalformedError(f"expected at most {MAX_ROWS} rows")
    if len(tensor.data) > count:  # before any of it is looked at
        raise MalformedError(f"{tensor.name[:40]!r}: more values than {count}, which its shape says")
    flat: list[Any] = []
    for value in tensor.data:
        flat.extend(value) if isinstance(value, list) else flat.append(value)
    if len(flat) != count:
        raise MalformedError(f"{tensor.name[:40]!r}: {len(flat)} values, {count} expected from its shape")
    if any(value is not None and (isinstance(value, bool) or not isinstance(value, int | float)) for value in flat):
        raise MalformedError(f"{tensor.name[:40]!r}: expected numbers, or null where missing")
    return _array(flat)


def _array(flat: list[Any]) -> NDArray[np.float64]:
    try:
        return np.asarray([math.nan if value is None else float(value) for value in flat], dtype=np.float64)
    except OverflowError:
        raise MalformedError("a number is too large for a feature") from None


def _checked(x: NDArray[np.float64]) -> NDArray[np.float64]:
    if len(x) > MAX_ROWS:
        raise MalformedError(f"expected at most {MAX_ROWS} rows")
    if bool((np.abs(x) > _FLOAT32_MAX).any()):
        raise MalformedError("a number is too large for a feature")
    return x


def _request_id(text: str | None) -> str | None:
    if text is not None and (not 0 < len(text) <= 128 or not text.isprintable()):
        raise MalformedError("request id: expected at most 128 printable characters")
    return text


def _reason(error: Exception) -> str:
    """Say where a request is wrong; msgspec's messages name places and types, and never values."""
    text = str(error) if isinstance(error, msgspec.ValidationError) else type(error).__name__
    return text[:200]
