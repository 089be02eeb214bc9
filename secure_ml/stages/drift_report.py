"""Stage `drift_report`: compare the newest sealed window of the log with the training set of the released model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from secure_ml.digests import Json, digest_of, sha256
from secure_ml.errors import RejectedError
from secure_ml.evidence import Evidence, EvidenceLog, read_subjects, require
from secure_ml.installation import Installation
from secure_ml.releases import current_release, read_released
from secure_ml.spec import GuardedModel
from secure_ml.stage_names import DRIFT_REPORT, INFERENCE_LOG, TRAINING_SET
from secure_ml.stages.dataset import dataset_folder
from secure_ml.stages.inference_log import segment_folder
from secure_ml.stages.trained_model import arrays
from secure_ml.stages.training_set import TRAINING_FILE

if TYPE_CHECKING:
    from secure_ml.monitoring.drift import Window

__all__ = ["report_drift"]


def report_drift(installation: Installation, model: GuardedModel) -> Evidence:
    """Compare the current window with the reference window. A window with a drift alarm is rejected.

    The current window is the newest sealed segment, together with older ones if it is too small. Records of other
    releases are left out.

    Raises:
        RejectedError: If segments, training set or model do not verify.
        UnavailableError: If no model is released or no segment is sealed.
    """
    home, trust = installation.home, installation.trust
    log = EvidenceLog.open(installation, model.name)
    log.latest(INFERENCE_LOG)
    released = current_release(home, trust, model.name)
    files = read_released(home, trust, released)
    document = json.loads(files["model.json"])
    segments: dict[str, bytes] = {}
    documents: dict[str, str] = {}
    rows = 0
    for evidence in reversed(log.history(INFERENCE_LOG)):
        require(evidence)
        by_release = evidence.facts["records_by_release"]
        count = by_release.get(str(released.number), 0) if isinstance(by_release, dict) else 0
        if rows >= model.drift.min_rows:
            break
        if isinstance(count, int) and count:
            segments |= read_subjects(evidence, segment_folder(installation, model))
            documents[f"evidence:inference_log:{evidence.cause[:16]}"] = evidence.document
            rows += count
    if not segments:
        raise RejectedError(f"{model.name}/drift_report: no sealed record of release {released.number}")
    reference = next(
        (
            item
            for item in log.history(TRAINING_SET)
            if item.cause == document["training_set"] and item.decision == "accepted"
        ),
        None,
    )
    if reference is None:
        raise RejectedError(
            f"{model.name}/drift_report: evidence of the released model's training set is missing; restore it"
        )
    tables = read_subjects(reference, dataset_folder(home, model.name, reference.cause))
    drift = model.drift
    cause = digest_of(
        {
            "release": released.document,
            "segments": {name: sha256(content) for name, content in segments.items()},
            "settings": [drift.alpha, drift.min_effect, drift.min_rows],
        }
    )
    known = log.find(DRIFT_REPORT, cause)
    if known is None:
        known = _report(
            installation, log, model, cause, documents, segments, tables[TRAINING_FILE], document, released.number
        )
    read_subjects(known, home.reports / model.name)
    return known


def _report(
    installation: Installation,
    log: EvidenceLog,
    model: GuardedModel,
    cause: str,
    documents: dict[str, str],
    segments: dict[str, bytes],
    training: bytes,
    document: dict[str, list[float]],
    number: int,
) -> Evidence:
    import numpy as np

    from secure_ml.digests import Digest
    from secure_ml.monitoring.drift import Window, compare, render_plot
    from secure_ml.monitoring.evidently_report import render_report

    home = installation.home
    x, _ = arrays(model, training)
    reference = Window(model.features, x, np.asarray(document["reference_scores"], dtype=np.float64))
    current = _window(model, segments, number)
    result = compare(reference, current, model.drift)
    plot = render_plot(result)
    title = f"{model.name}: release {number}, {current.x.shape[0]} records against {x.shape[0]} training rows"
    html = render_report(reference, current, result, title)
    name, plot_name = f"drift-{sha256(html)}.html", f"drift-{sha256(plot)}.svg"
    home.write_file(home.reports / model.name / name, html)
    home.write_file(home.reports / model.name / plot_name, plot)
    facts: dict[str, Json] = {
        "report": name,
        "plot": plot_name,
        "rows": int(current.x.shape[0]),
        "drift": result.as_json(),
        "sentence": result.sentence,
    }
    return log.append(
        installation.signer(),
        stage=DRIFT_REPORT,
        cause=Digest(cause),
        reasons=[result.sentence] if result.alarm else [],
        subjects={name: sha256(html)},
        inputs={**documents, "release": str(number)},
        facts=facts,
    )


def _window(model: GuardedModel, segments: dict[str, bytes], number: int) -> Window:
    import numpy as np
    import polars as pl

    from secure_ml.inference_log.segments import parse_segment
    from secure_ml.monitoring.drift import Window

    frame = pl.concat([parse_segment(content) for content in segments.values()], how="diagonal")
    frame = frame.filter(pl.col("release") == number)
    x = frame.select(pl.col(f"input_{name}").cast(pl.Float64) for name in model.features)
    return Window(
        model.features,
        np.ascontiguousarray(x.fill_null(float("nan")).to_numpy(), dtype=np.float64),
        np.asarray(frame["score"].to_numpy(), dtype=np.float64),
    )
