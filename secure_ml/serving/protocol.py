"""Request formats: the Open Inference Protocol (REST, JSON), and `/predict` with named fields.

A parser turns a request into rows, and a renderer turns predictions into a response. Error messages are for the client
and never hold a value of the request.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from secure_ml.errors import MalformedError
from secure_ml.serving.served_model import ServedModel

__all__ = ["InferenceRequest", "InferenceResponse", "parse_infer", "parse_predict", "render_infer", "render_predict"]

MAX_ROWS = 10_000
_FLOATS = {"FP32", "FP64"}
_FLOAT32_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class InferenceRequest:
    """A decoded request.

    Attributes:
        x: Features, shape (n, d). A missing value is NaN.
        request_id: Request id that the client chose, or None.
    """

    x: NDArray[np.float64]
    request_id: str | None


@dataclass(frozen=True, slots=True)
class InferenceResponse:
    """The predictions of one request, after they were logged.

    Attributes:
        served: Model that made the predictions.
        ids: Record id of each row.
        labels: Predicted class of each row.
        scores: P(positive) of each row.
        confidences: P(predicted class) of each row.
        request_id: Request id that the client chose, or None.
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


def parse_infer(body: bytes, served: ServedModel) -> InferenceRequest:
    """Parse an Open Inference Protocol request: one tensor `features` of shape (n, d), or one tensor per feature.

    Raises:
        MalformedError: If the request has any other form.
    """
    try:
        request = _INFER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError(f"body: not an inference request ({_reason(error)})") from None
    features = served.features
    tensors = {tensor.name: tensor for tensor in request.inputs}
    if len(tensors) != len(request.inputs):
        raise MalformedError("inputs: duplicate tensor name, expected each name once")
    if set(tensors) == {"features"}:
        tensor = tensors["features"]
        if len(tensor.shape) != 2 or tensor.shape[1] != len(features):
            raise MalformedError(f"features: invalid shape, expected [n, {len(features)}]")
        x = _values(tensor, tensor.shape[0] * tensor.shape[1]).reshape(-1, len(features))
    elif set(tensors) == set(features):
        rows = {tuple(tensor.shape) for tensor in tensors.values()}
        if len(rows) != 1 or not (len(shape := next(iter(rows))) == 1 or (len(shape) == 2 and shape[1] == 1)):
            raise MalformedError("inputs: shapes differ or are invalid, expected [n] or [n, 1] for each feature")
        x = np.stack([_values(tensors[name], shape[0]) for name in features], axis=1)
    else:
        raise MalformedError(
            f"inputs: unknown tensors, expected one named features, or one for each of {', '.join(features)}"
        )
    return InferenceRequest(_checked(x), _request_id(request.id))


def parse_predict(body: bytes, served: ServedModel, request_id: str | None) -> InferenceRequest:
    """Parse one object with a field per feature, or a list of such objects.

    Raises:
        MalformedError: If the request has any other form.
    """
    try:
        document = _ANY.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError(f"body: not JSON ({_reason(error)})") from None
    rows = document if isinstance(document, list) else [document]
    if not 0 < len(rows) <= MAX_ROWS:
        raise MalformedError(f"body: expected 1 to {MAX_ROWS} rows, found {len(rows)}")
    names = set(served.features)
    values: list[list[Any]] = []
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            raise MalformedError(f"row {index}: not an object, expected the fields {', '.join(served.features)}")
        if row.keys() != names:
            missing = [name for name in served.features if name not in row]
            problem = f"{missing[0]}: missing" if missing else f"{len(row.keys() - names)} fields are not features"
            raise MalformedError(f"row {index}: {problem}")
        values.append([row[name] for name in served.features])
    flat = [value for row in values for value in row]
    for index, value in enumerate(flat):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            row, column = divmod(index, len(served.features))
            raise MalformedError(f"row {row}: {served.features[column]}: wrong type, expected a number or null")
    return InferenceRequest(_checked(_array(flat).reshape(-1, len(served.features))), _request_id(request_id))


def render_infer(response: InferenceResponse) -> bytes:
    """Render a response of the Open Inference Protocol."""
    rows = len(response.ids)
    document: dict[str, Any] = {
        "model_name": response.served.release.model,
        "model_version": str(response.served.release.number),
        "parameters": {"record_ids": ",".join(response.ids)},
        "outputs": [
            {"name": "score", "shape": [rows], "datatype": "FP64", "data": response.scores},
            {"name": "label", "shape": [rows], "datatype": "BYTES", "data": response.labels},
        ],
    }
    if response.request_id is not None:
        document["id"] = response.request_id
    return msgspec.json.encode(document)


def render_predict(response: InferenceResponse) -> bytes:
    """Render a response of `/predict`."""
    rows = zip(response.ids, response.labels, response.confidences, response.scores, strict=True)
    return msgspec.json.encode(
        {
            "model": response.served.release.model,
            "release": response.served.release.number,
            "predictions": [
                {"id": id_, "label": label, "confidence": confidence, "score": score}
                for id_, label, confidence, score in rows
            ],
        }
    )


def _values(tensor: _Tensor, count: int) -> NDArray[np.float64]:
    if "binary_data_size" in tensor.parameters or tensor.data is None:
        raise MalformedError(f"{tensor.name[:40]!r}: binary tensors are not supported; send the data as JSON")
    if tensor.datatype not in _FLOATS:
        raise MalformedError(f"{tensor.name[:40]!r}: unsupported datatype, expected FP32 or FP64")
    if count < 1 or min(tensor.shape) < 1:
        raise MalformedError(f"{tensor.name[:40]!r}: empty shape, expected at least one row")
    if tensor.shape[0] > MAX_ROWS:
        raise MalformedError(f"inputs: too many rows, expected at most {MAX_ROWS}")
    if len(tensor.data) > count:  # before any value is read
        raise MalformedError(f"{tensor.name[:40]!r}: too many values, expected {count} from its shape")
    flat: list[Any] = []
    for value in tensor.data:
        flat.extend(value) if isinstance(value, list) else flat.append(value)
    if len(flat) != count:
        raise MalformedError(
            f"{tensor.name[:40]!r}: wrong number of values, expected {count} from its shape, found {len(flat)}"
        )
    if any(value is not None and (isinstance(value, bool) or not isinstance(value, int | float)) for value in flat):
        raise MalformedError(f"{tensor.name[:40]!r}: wrong type of value, expected numbers or null")
    return _array(flat)


def _array(flat: list[Any]) -> NDArray[np.float64]:
    try:
        return np.asarray([math.nan if value is None else float(value) for value in flat], dtype=np.float64)
    except OverflowError:
        raise MalformedError("features: a number is too large, expected the range of a 32-bit float") from None


def _checked(x: NDArray[np.float64]) -> NDArray[np.float64]:
    if len(x) > MAX_ROWS:
        raise MalformedError(f"inputs: too many rows, expected at most {MAX_ROWS}")
    if bool((np.abs(x) > _FLOAT32_MAX).any()):
        raise MalformedError("features: a number is too large, expected the range of a 32-bit float")
    return x


def _request_id(text: str | None) -> str | None:
    if text is not None and (not 0 < len(text) <= 128 or not text.isprintable()):
        raise MalformedError("request id: invalid, expected 1 to 128 printable characters")
    return text


def _reason(error: Exception) -> str:
    """Describe why a request cannot be decoded. The messages of msgspec name fields and types, and never values."""
    text = str(error) if isinstance(error, msgspec.ValidationError) else type(error).__name__
    return text[:200]
