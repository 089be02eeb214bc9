"""The served model, built only from bytes that were verified."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secure_ml.contracts.request_rules import RequestRules
from secure_ml.errors import MalformedError, RejectedError, SecureMLError
from secure_ml.home import Home
from secure_ml.releases import Release, current_release, read_released
from secure_ml.signing.trust import Trust

__all__ = ["ServedModel", "load_released"]


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A verified release, ready to score.

    Attributes:
        release: Signed release that allows this model to serve.
        features: Names of the features, in the model's order.
        classes: Names of the negative and of the positive class.
        rules: Rules of the contract for each row of a request.
    """

    release: Release
    features: tuple[str, ...]
    classes: tuple[str, str]
    rules: RequestRules
    _session: Any

    def score(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return P(positive), shape (n,), for features of shape (n, d). A missing value is NaN."""
        (probabilities,) = self._session.run(["probabilities"], {"features": x.astype(np.float32)})
        scores: NDArray[np.float64] = probabilities[:, 1].astype(np.float64)
        return scores


def load_released(home: Home, trust: Trust, model: str) -> ServedModel:
    """Verify the current release and load exactly the bytes that were verified.

    Raises:
        RejectedError: If the release document, a file or a signature does not verify.
        MalformedError: If the model document or the ONNX graph cannot be loaded.
        UnavailableError: If no model is released.
    """
    import onnxruntime

    release = current_release(home, trust, model)
    files = read_released(home, trust, release)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(files["model.onnx"], options, providers=["CPUExecutionProvider"])
        match json.loads(files["model.json"]):
            case {
                "schema": 1,
                "name": str(name),
                "features": list(features),
                "classes": [str(negative), str(positive)],
                "rules": rules,
            }:
                parsed = RequestRules.parse(rules)
            case _:
                raise MalformedError("model.json: malformed, expected a model document of schema 1")
    except SecureMLError:
        raise
    except Exception as error:  # noqa: BLE001 (ONNX Runtime's errors have no common base class)
        raise MalformedError(
            f"release {release.number}: the model cannot be loaded ({type(error).__name__}); release another model"
        ) from None
    if name != model or parsed.names != tuple(features):
        raise RejectedError(
            f"release {release.number}: model.json or its rules belong to another model, expected {model}"
        )
    return ServedModel(release, tuple(features), (negative, positive), parsed, session)
