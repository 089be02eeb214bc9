"""The model folder: a skops file, an ONNX file and one document. Neither format runs code when it is loaded.

A skops file may hold only the types that the user reviewed and listed, never the types that the file itself asks for.
Both files must agree on every row of training set and holdout, and the largest difference is recorded.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from secure_ml.digests import Digest, Json, canonical_json
from secure_ml.errors import MalformedError, RejectedError
from secure_ml.spec import GuardedModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from secure_ml.training.evaluation import Fitted

__all__ = ["render_model", "scan_onnx", "scan_skops"]

_MAX_MEMBERS = 10_000
_MAX_UNPACKED_BYTES = 1 << 30
_MEMBER = re.compile(r"[A-Za-z0-9_.-]{1,200}")
_EPOCH = (1980, 1, 1, 0, 0, 0)
_MAX_DIFFERENCE = 1e-5
_LOADERS = {
    "BoolNode", "BytearrayNode", "BytesNode", "DictNode", "DTypeNode", "JsonNode", "ListNode", "NdArrayNode",
    "ObjectNode", "RandomStateNode", "SetNode", "SliceNode", "TupleNode", "TypeNode", "TreeNode", "LossNode",
    "DefaultDictNode", "MaskedArrayNode", "SparseMatrixNode",
}  # fmt: skip


def render_model(
    model: GuardedModel, fitted: Fitted, *, training_set: Digest, rules: dict[str, Json]
) -> dict[str, bytes]:
    """Render `model.skops`, `model.onnx` and `model.json`. The same model gives the same bytes.

    Raises:
        RejectedError: If a type was not reviewed, the model cannot be converted to ONNX, or skops and ONNX disagree.
    """
    import skops.io

    packed = _canonical_zip(skops.io.dumps(fitted.estimator))
    scan_skops(packed, model.artifact_types, "model.skops")
    onnx = _to_onnx(fitted.estimator, len(model.features))
    scan_onnx(onnx, len(model.features), "model.onnx")
    loaded = skops.io.loads(packed, trusted=list(model.artifact_types))
    document = {
        "schema": 1,
        "name": model.name,
        "features": list(model.features),
        "classes": list(model.classes),
        "rules": rules,
        "training_set": training_set,
        "reference_scores": [float(score) for score in fitted.reference_scores],
        "evaluation": fitted.evaluation.as_json(),
        "parity": _parity(loaded, onnx, np.vstack([fitted.x, fitted.holdout_x])),
    }
    return {"model.skops": packed, "model.onnx": onnx, "model.json": canonical_json(document)}


def _canonical_zip(content: bytes) -> bytes:
    """Pack the same members in the same order, with names and dates that are the same in each run."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(members.pop("schema.json"))
    names = {old: f"{index:06}.npy" if old.endswith(".npy") else f"{index:06}" for index, old in enumerate(members)}
    order: dict[int, int] = {}

    def rewrite(node: Any) -> Any:
        if isinstance(node, dict):
            renamed = {key: rewrite(value) for key, value in node.items()}
            if isinstance(renamed.get("file"), str):
                renamed["file"] = names.get(renamed["file"], renamed["file"])
            if isinstance(renamed.get("__id__"), int):
                renamed["__id__"] = order.setdefault(renamed["__id__"], len(order) + 1)
            return renamed
        return [rewrite(item) for item in node] if isinstance(node, list) else node

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo("schema.json", _EPOCH), canonical_json(rewrite(schema)))
        for old, member in members.items():
            archive.writestr(zipfile.ZipInfo(names[old], _EPOCH), member)
    return buffer.getvalue()


def scan_skops(content: bytes, allowed: tuple[str, ...], where: str) -> None:
    """Require that a skops file holds only reviewed types. The file is not loaded.

    Raises:
        RejectedError: If it holds a type that was not reviewed. The message names the types.
        MalformedError: If it is not a skops file, or has hostile members.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            names = [member.filename for member in members]
            if len(members) > _MAX_MEMBERS or sum(member.file_size for member in members) > _MAX_UNPACKED_BYTES:
                raise MalformedError(f"{where}: too many members or bytes, expected at most {_MAX_MEMBERS} members")
            if len(set(names)) != len(names) or not all(_MEMBER.fullmatch(name) for name in names):
                raise MalformedError(f"{where}: invalid member names, expected flat and unique file names")
            schema = json.loads(archive.read("schema.json"))
    except (zipfile.BadZipFile, KeyError, ValueError, RecursionError, NotImplementedError) as error:
        raise MalformedError(f"{where}: malformed ({type(error).__name__}), expected a skops file") from None
    types: set[str] = set()
    loaders: set[str] = set()
    todo = [schema]
    while todo:
        node = todo.pop()
        if isinstance(node, dict):
            if "__class__" in node or "__loader__" in node:
                types.add(f"{node.get('__module__')}.{node.get('__class__')}")
                loaders.add(str(node.get("__loader__")))
            if node.get("__loader__") == "TypeNode":
                content_ = node.get("content")
                if isinstance(content_, dict):
                    types.add(f"{content_.get('__module__')}.{content_.get('__class__')}")
            todo += node.values()
        elif isinstance(node, list):
            todo += node
    unknown = sorted(types - set(allowed) - _PLAIN) + sorted(f"node {name}" for name in loaders - _LOADERS)
    if unknown:
        raise RejectedError(
            f"{where}: holds types outside the reviewed list: {', '.join(item[:100] for item in unknown[:10])}; "
            "review them and add them to artifact_types, or do not use this file"
        )


_PLAIN = frozenset(f"builtins.{name}" for name in ("dict", "list", "tuple", "str", "int", "float", "bool", "NoneType"))


def _to_onnx(estimator: Any, features: int) -> bytes:
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType

    try:
        converted = to_onnx(
            estimator,
            initial_types=[("features", FloatTensorType([None, features]))],
            options={"zipmap": False},
            name="secure_ml",
        )
    except (RuntimeError, NotImplementedError, NameError, ValueError, TypeError) as error:
        raise RejectedError(
            f"model.onnx: {type(estimator).__name__} cannot be converted to ONNX ({type(error).__name__}); "
            "the trainer must return a scikit-learn classifier that skl2onnx supports"
        ) from None
    rendered: bytes = converted.SerializeToString(deterministic=True)
    return rendered


def scan_onnx(content: bytes, features: int, where: str) -> None:
    """Require that an ONNX file is self-contained, uses standard operators and has the expected inputs and outputs.

    Raises:
        RejectedError: If it does not.
        MalformedError: If it is not an ONNX model.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        parsed = onnx.load_model_from_string(content)
        onnx.checker.check_model(parsed)
    except (DecodeError, onnx.checker.ValidationError, ValueError) as error:
        raise MalformedError(f"{where}: malformed ({type(error).__name__}), expected an ONNX model") from None
    graph = parsed.graph
    parts = list(_parts(parsed))
    tensors = [part for part in parts if isinstance(part, onnx.TensorProto)]
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data for tensor in tensors):
        raise RejectedError(f"{where}: refers to data outside the file; export it with the data inside")
    nodes = [part for part in parts if isinstance(part, onnx.NodeProto)]
    domains = {node.domain for node in nodes} | {item.domain for item in parsed.opset_import}
    if not domains <= {"", "ai.onnx", "ai.onnx.ml"} or parsed.functions:
        raise RejectedError(f"{where}: uses operators outside the ONNX standard; export it with standard operators")
    inputs = [(item.name, [d.dim_value for d in item.type.tensor_type.shape.dim][1:]) for item in graph.input]
    if inputs != [("features", [features])] or {item.name for item in graph.output} != {"label", "probabilities"}:
        raise RejectedError(
            f"{where}: wrong interface, expected one input of {features} features and outputs label and probabilities"
        )


def _parts(message: Any) -> Iterator[Any]:
    """Yield a protobuf message and all messages in it. Tensors also occur in attributes and branches."""
    from google.protobuf.message import Message

    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in [value] if isinstance(value, Message) else value:
                yield from _parts(part)


def _parity(estimator: Any, onnx: bytes, x: NDArray[np.float64]) -> dict[str, Json]:
    import onnxruntime

    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    single = x.astype(np.float32)
    label, probabilities = session.run(["label", "probabilities"], {"features": single})
    expected = estimator.predict_proba(single.astype(np.float64))
    difference = float(np.abs(expected - probabilities).max())
    clear = np.abs(expected[:, 1] - 0.5) > _MAX_DIFFERENCE
    equal = bool((np.argmax(expected, axis=1) == label)[clear].all())
    if not equal or not difference <= _MAX_DIFFERENCE:
        raise RejectedError(
            f"model.onnx: disagrees with model.skops, expected a difference of at most {_MAX_DIFFERENCE}, found "
            f"{difference:.2e}, labels equal: {equal}"
        )
    return {"rows": len(x), "max_abs_difference": difference, "labels_equal": equal}
