"""The model as it is served: built from the bytes that were verified, and from nothing else."""

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
        release: What allows it to serve.
        features: Names, in order.
        classes: Names of the negative and the positive class.
        rules: The contract's rules for each request row.
    """

    release: Release
    features: tuple[str, ...]
    classes: tuple[str, str]
    rules: RequestRules
    _session: Any

    def score(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return P(positive), shape (n,), of features of shape (n, d), NaN where missing."""
        (probabilities,) = self._session.run(["probabilities"], {"features": x.astype(np.float32)})
        scores: NDArray[np.float64] = probabilities[:, 1].astype(np.float64)
        return scores


def load_released(home: Home, trust: Trust, model: str) -> ServedModel:
    """Verify the current release and load exactly the bytes that were verified.

    Raises:
        RejectedError: Document, files or signatures do not verify.
        UnavailableError: Nothing is released.
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
                raise MalformedError("model.json: not a model document of schema 1")
    except SecureMLError:
        raise
    except Exception as error:  # noqa: BLE001 (ONNX Runtime's errors share no base of their own)
        raise MalformedError(f"release {release.number}: cannot be loaded ({type(error).__name__})") from None
    if name != model or parsed.names != tuple(features):
        raise RejectedError(f"release {release.number}: model.json is about another model, or its rules are")
    return ServedModel(release, tuple(features), (negative, positive), parsed, session)
