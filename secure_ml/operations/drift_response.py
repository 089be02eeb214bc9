"""The response to a drift alarm, as the model sets it: quarantine the window, or retrain a candidate."""

from __future__ import annotations

from secure_ml.digests import Digest, digest_of
from secure_ml.evidence import Evidence, EvidenceLog
from secure_ml.installation import Installation
from secure_ml.quarantine.folder import render_quarantine
from secure_ml.spec import GuardedModel
from secure_ml.stage_names import DRIFT_REPORT, DRIFT_RESPONSE
from secure_ml.stages.signed_model import sign
from secure_ml.stages.trained_model import train
from secure_ml.stages.training_set import build_training_set

__all__ = ["respond_to_drift", "unanswered_alarm"]


def unanswered_alarm(installation: Installation, model: GuardedModel) -> Digest | None:
    """Return the cause of the newest drift alarm, or None if it has a response already.

    Raises:
        SecureMLError: If evidence does not verify.
        UnavailableError: If no drift report exists yet.
    """
    log = EvidenceLog.open(installation, model.name)
    report = log.latest(DRIFT_REPORT)
    if report.decision == "accepted":
        return None
    cause = _cause(model, report)
    return cause if log.find(DRIFT_RESPONSE, cause) is None else None


def respond_to_drift(installation: Installation, model: GuardedModel) -> Evidence:
    """Respond to the newest drift alarm, once per alarm.

    A retrained model is only a candidate. The promotion rule decides about it in `decide_release`, never the alarm.

    Raises:
        SecureMLError: If evidence does not verify, or the candidate is rejected.
        UnavailableError: If no drift report exists yet.
    """
    home, log = installation.home, EvidenceLog.open(installation, model.name)
    report = log.latest(DRIFT_REPORT)
    cause = _cause(model, report)
    known = log.find(DRIFT_RESPONSE, cause)
    if known is not None:
        return known
    inputs: dict[str, str] = {"evidence:drift_report": report.document, "response": model.drift.response}
    if report.decision == "accepted":
        inputs["response"] = "none"
    elif model.drift.response == "quarantine":
        document = {
            "model": model.name,
            "stage": DRIFT_REPORT,
            "report": report.cause,
            "release": report.inputs["release"],
        }
        home.write_folder(home.quarantine / model.name / cause, render_quarantine(list(report.reasons), document))
    else:
        build_training_set(installation, model)
        train(installation, model)
        inputs["candidate"] = sign(installation, model).inputs["model"]
    return log.append(
        installation.signer(),
        stage=DRIFT_RESPONSE,
        cause=cause,
        subjects={},
        inputs=inputs,
        facts={"alarm": list(report.reasons)},
    )


def _cause(model: GuardedModel, report: Evidence) -> Digest:
    return digest_of({"report": report.cause, "response": model.drift.response})
