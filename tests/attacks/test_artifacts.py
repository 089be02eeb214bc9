"""Model files that ask for more than a model: types, code, data outside the file, operators of others."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import skops.io
from onnx import TensorProto, helper, numpy_helper
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import FunctionTransformer

from secure_ml.errors import MalformedError, RejectedError
from secure_ml.models.heart_disease import model
from secure_ml.training.artifacts import scan_onnx, scan_skops

TYPES = ("numpy.ndarray", "sklearn.linear_model._logistic.LogisticRegression")
FITTED = LogisticRegression().fit(np.array([[0.0], [1.0], [2.0], [3.0]]), [0, 0, 1, 1])


def packed(estimator: object) -> bytes:
    content: bytes = skops.io.dumps(estimator)
    return content


def repacked(content: bytes, change: Callable[[dict[str, Any]], None], **members: bytes) -> bytes:
    """The same file with a changed schema."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        found = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(found.pop("schema.json"))
    change(schema)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("schema.json", json.dumps(schema))
        for name, member in {**found, **members}.items():
            archive.writestr(name, member)
    return buffer.getvalue()


def test_a_reviewed_model_passes_the_scan() -> None:
    scan_skops(packed(FITTED), TYPES, "model.skops")


def test_the_reviewed_list_is_exact() -> None:
    for missing in TYPES:
        rest = tuple(name for name in TYPES if name != missing)
        with pytest.raises(RejectedError, match=f"outside the reviewed list: {missing};"):
            scan_skops(packed(FITTED), rest, "model.skops")


HOSTILE: dict[str, tuple[object, str]] = {
    "a function": (FunctionTransformer(os.system), "posix.system"),
    "a partial": (FunctionTransformer(partial(os.system, "true")), "functools.partial"),
    "a type": (FunctionTransformer(kw_args={"kind": Path}), "pathlib.Path"),
    "another estimator": (TransformedTargetRegressor(), "sklearn.compose"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_type_that_nobody_reviewed_is_refused_and_named(case: str) -> None:
    estimator, named = HOSTILE[case]
    allowed = (*TYPES, "sklearn.preprocessing._function_transformer.FunctionTransformer")
    with pytest.raises(RejectedError, match=named):
        scan_skops(packed(estimator), allowed, "model.skops")


@pytest.mark.parametrize("loader", ["FunctionNode", "MethodNode", "OperatorFuncNode", "PartialNode", "ReduceNode", "X"])
def test_a_loader_that_runs_something_is_refused_whatever_the_type(loader: str) -> None:
    def change(schema: dict[str, Any]) -> None:
        schema["content"]["content"]["coef_"] = {
            "__class__": "ndarray",
            "__module__": "numpy",
            "__loader__": loader,
            "content": {},
        }

    with pytest.raises(RejectedError, match=f"node {loader}"):
        scan_skops(repacked(packed(FITTED), change), TYPES, "model.skops")


def _nothing(_: dict[str, Any]) -> None:
    return


def _twice() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("schema.json", "{}")
        archive.writestr("schemb.json", "{}")
    return buffer.getvalue().replace(b"schemb.json", b"schema.json")


def _bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("schema.json", "w") as member:
        for _ in range(1025):
            member.write(bytes(1 << 20))
    return buffer.getvalue()


NO_SKOPS: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "not a ZIP archive": lambda: b"x" * 1000,
    "no schema": lambda: repacked(packed(FITTED), _nothing).replace(b"schema.json", b"schemX.json"),
    "a name that leads out": lambda: repacked(packed(FITTED), _nothing, **{"../../x.npy": b""}),
    "a member twice": _twice,
    "a bomb": _bomb,
    "too many members": lambda: repacked(packed(FITTED), _nothing, **{f"{i}": b"" for i in range(10_001)}),
}


@pytest.mark.parametrize("case", NO_SKOPS)
def test_what_is_no_skops_file_is_malformed(case: str) -> None:
    with pytest.raises(MalformedError, match=r"model\.skops"):
        scan_skops(NO_SKOPS[case](), TYPES, "model.skops")


def outside(name: str) -> TensorProto:
    """A tensor whose values lie in `outside.bin`."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[2, 1], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "outside.bin"), ("offset", "0"), ("length", "8")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return tensor


def inside(name: str, values: object) -> TensorProto:
    tensor: TensorProto = numpy_helper.from_array(np.asarray(values), name)
    return tensor


def network(nodes: list[Any], initializers: list[TensorProto], *, domain: str = "", features: int = 2) -> bytes:
    """A model that multiplies the features with `w`."""
    rest = [
        helper.make_node("MatMul", ["features", "w"], ["probabilities"]),
        helper.make_node("ReduceMax", ["features"], ["r"], axes=[1], keepdims=0),
        helper.make_node("Cast", ["r"], ["label"], to=TensorProto.INT64),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes + rest,
        "g",
        [value("features", TensorProto.FLOAT, [None, features])],
        [value("label", TensorProto.INT64, [None]), value("probabilities", TensorProto.FLOAT, [None, 1])],
        initializers,
    )
    opsets = [helper.make_opsetid("", 17), *([helper.make_opsetid(domain, 1)] if domain else [])]
    content: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    return content


def branch(name: str, node: Any, tensor: TensorProto) -> Any:
    output = helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, [2, 1])
    return helper.make_graph([node], name, [], [output], [tensor])


def chosen(then: Any) -> bytes:
    """`w` comes out of a branch."""
    otherwise = branch("otherwise", helper.make_node("Identity", ["k2"], ["o2"]), inside("k2", EYE))
    node = helper.make_node("If", ["c"], ["w"], then_branch=then, else_branch=otherwise)
    return network([node], [inside("c", True)])


EYE = [[np.float32(1)], [np.float32(1)]]
IN_A_BRANCH = branch("then", helper.make_node("Identity", ["k"], ["o"]), outside("k"))


def test_a_plain_network_passes_the_scan() -> None:
    scan_onnx(network([], [inside("w", EYE)]), 2, "model.onnx")


def test_data_outside_the_file_would_be_read_from_a_branch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The attack works: what is scored depends on a file that no signature covers."""
    monkeypatch.chdir(tmp_path)
    scores = []
    for weight in (1.0, 5.0):
        Path("outside.bin").write_bytes(np.array([weight, weight], np.float32).tobytes())
        session = onnxruntime.InferenceSession(chosen(IN_A_BRANCH), providers=["CPUExecutionProvider"])
        (found,) = session.run(["probabilities"], {"features": np.ones((1, 2), np.float32)})
        scores.append(float(found[0, 0]))
    assert scores == [2.0, 10.0]


OUTSIDE = {
    "an initializer": lambda: network([], [outside("w")]),
    "a constant": lambda: network([helper.make_node("Constant", [], ["w"], value=outside("w"))], []),
    "a branch": lambda: chosen(IN_A_BRANCH),
    "a constant of a branch": lambda: chosen(
        branch("then", helper.make_node("Constant", [], ["o"], value=outside("v")), inside("k", EYE))
    ),
}


@pytest.mark.parametrize("case", OUTSIDE)
def test_data_outside_the_file_is_refused_wherever_it_is_named(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("outside.bin").write_bytes(bytes(8))
    with pytest.raises(RejectedError, match="data outside the file"):
        scan_onnx(OUTSIDE[case](), 2, "model.onnx")


def test_an_operator_of_others_is_refused() -> None:
    evil = helper.make_node("Identity", ["k"], ["w"], domain="evil.example")
    with pytest.raises((RejectedError, MalformedError)):
        scan_onnx(network([evil], [inside("k", EYE)], domain="evil.example"), 2, "model.onnx")
    unused = network([], [inside("w", EYE)], domain="com.microsoft")
    with pytest.raises(RejectedError, match="outside the ONNX standard"):
        scan_onnx(unused, 2, "model.onnx")


@pytest.mark.parametrize("features", [1, 3])
def test_another_interface_is_refused(features: int) -> None:
    with pytest.raises(RejectedError, match="expected one input"):
        scan_onnx(network([], [inside("w", EYE)]), features, "model.onnx")


@pytest.mark.parametrize("content", [b"", b"x" * 1000, b"\x08\x08"])
def test_what_is_no_onnx_file_is_malformed(content: bytes) -> None:
    with pytest.raises(MalformedError, match=r"model\.onnx"):
        scan_onnx(content, 2, "model.onnx")


def test_the_reviewed_list_of_the_default_model_holds_no_function() -> None:
    assert all(name.split(".")[0] in {"numpy", "sklearn"} for name in model.artifact_types)
    assert not any("function" in name.lower() for name in model.artifact_types)
