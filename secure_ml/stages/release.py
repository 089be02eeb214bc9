"""Stage `release`: the promotion rule decides, and a release is a signed, numbered document."""

from __future__ import annotations

from typing import TYPE_CHECKING

from secure_ml.digests import Digest, digest_of
from secure_ml.errors import RejectedError, UnavailableError
from secure_ml.evidence import Evidence, EvidenceLog, read_subjects, require, require_tier_rules
from secure_ml.installation import Installation
from secure_ml.releases import (
    SIGNATURE,
    Release,
    current_release,
    publish_release,
    read_released,
    releases,
    require_fresh_start,
)
from secure_ml.signing.model_signature import verify_model
from secure_ml.spec import GuardedModel
from secure_ml.stage_names import (
    DATASET,
    RELEASE,
    SIGNED_MODEL,
    SOURCE_MANIFEST_SEEN,
    TRAINED_MODEL,
    TRAINING_SET,
    VALIDATED_DATASET,
)
from secure_ml.stages.dataset import dataset_folder
from secure_ml.stages.trained_model import arrays
from secure_ml.stages.training_set import HOLDOUT_FILE
from secure_ml.tiers import require_production

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["decide_release"]


def decide_release(installation: Installation, model: GuardedModel) -> tuple[Evidence, Release]:
    """Decide about the newest signed model by the promotion rule, and publish it if it is no worse than the champion.

    1. Take the newest signed model of the present code, and verify its evidence and files back to the data.
    2. Find the champion. A home without releases must be a fresh start.
    3. If the candidate is the champion, its release stands.
    4. Otherwise decide by the promotion rule, once for each pair of candidate and champion.
    5. Publish a promoted candidate as the next numbered release.

    Returns:
        The decision, and the release that is current after it. If the decision is a rejection, the champion stays.

    Raises:
        RejectedError: If evidence, bytes or signatures on the way back to the data do not verify, the first candidate
            is rejected so that there is no release, or releases were removed.
        UnavailableError: If the present code has no signed model.
    """
    home, trust = installation.home, installation.trust
    log = EvidenceLog.open(installation, model.name)
    require_production(installation.policy, f"{model.name}/{RELEASE}")
    # 1. Candidate.
    candidate, steps, files = _read_candidate(installation, log, model)
    # 2. Champion.
    published = releases(home, trust, model.name)
    champion = published[-1] if published else None
    if champion is None:
        require_fresh_start(trust, model.name, steps)
    # 3. The candidate is released already.
    elif champion.model_digest == candidate.inputs["model"]:
        return _confirm(installation, log, model, champion), champion
    # 4. Promotion rule.
    cause = digest_of({"candidate": candidate.inputs["model"], "champion": champion.document if champion else None})
    decision = log.find(RELEASE, cause)
    if decision is None:
        decision = _decide(installation, log, model, candidate, files, champion, cause)
    if decision.decision == "rejected":
        if champion is None:
            require(decision)
        return decision, current_release(home, trust, model.name)
    # 5. Publish.
    released = publish_release(
        home,
        installation.signer(),
        trust,
        model=model.name,
        number=len(published) + 1,
        model_digest=Digest(candidate.inputs["model"]),
        files=candidate.subjects,
        inputs={
            "evidence:release": decision.document,
            "cause": cause,
            "training_set": candidate.inputs["training_set"],
        },
    )
    _set_champion(installation, model, released)
    return decision, released


def _confirm(installation: Installation, log: EvidenceLog, model: GuardedModel, champion: Release) -> Evidence:
    """Verify the current release, and return the decision that allowed it."""
    decision = log.find(RELEASE, Digest(champion.inputs["cause"]))
    if decision is None:
        raise RejectedError(
            f"releases/{model.name}/{champion.path.name}: the evidence that allowed it is missing; restore it"
        )
    read_released(log.home, log.trust, champion)
    _set_champion(installation, model, champion)
    return decision


def _read_candidate(
    installation: Installation, log: EvidenceLog, model: GuardedModel
) -> tuple[Evidence, list[Evidence], dict[str, bytes]]:
    """Return the newest signed model, the evidence that it rests on, and its files, all verified."""
    candidate = log.latest(SIGNED_MODEL, tier_rules=installation.policy, code=model.code)
    require(candidate)
    steps = log.chain(candidate)
    for step in steps:
        if step.stage not in (DATASET, SOURCE_MANIFEST_SEEN):  # an intake is not decided under any tier rules
            require_tier_rules(step, installation.policy)
        _read_step(installation, model, step)
    files = read_subjects(candidate, log.home.models / model.name / candidate.inputs["model"])
    verify_model({name: files[name] for name in files if name != SIGNATURE}, files[SIGNATURE], log.trust)
    return candidate, steps, files


def _decide(
    installation: Installation,
    log: EvidenceLog,
    model: GuardedModel,
    candidate: Evidence,
    files: dict[str, bytes],
    champion: Release | None,
    cause: Digest,
) -> Evidence:
    """Score candidate and champion on the same signed holdout."""
    from secure_ml.training.evaluation import promote

    home, trust = installation.home, installation.trust
    training_set = log.find(TRAINING_SET, Digest(candidate.inputs["training_set"]))
    if training_set is None:
        raise RejectedError(f"{model.name}/release: evidence of the candidate's training set is missing; restore it")
    tables = read_subjects(training_set, dataset_folder(home, model.name, training_set.cause))
    x, y = arrays(model, tables[HOLDOUT_FILE])
    scores = _scores(files["model.onnx"], x)
    reasons: tuple[str, ...] = ()
    inputs = {
        "evidence:signed_model": candidate.document,
        "model": candidate.inputs["model"],
        "training_set": candidate.inputs["training_set"],
    }
    if champion is not None:
        promoted, why = promote(
            scores, _scores(read_released(home, trust, champion)["model.onnx"], x), y, model.quality
        )
        reasons = () if promoted else (tuple(why) or ("the promotion rule rejected the candidate",))
        inputs["champion"] = champion.document
    return log.append(
        installation.signer(),
        stage=RELEASE,
        cause=cause,
        reasons=reasons,
        subjects=candidate.subjects,
        inputs=inputs,
        facts={
            "holdout_rows": len(y),
            "candidate_training_set": training_set.facts["batches"],
            "champion_number": champion.number if champion else None,
        },
    )


def _scores(onnx: bytes, x: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np
    import onnxruntime

    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    (probabilities,) = session.run(["probabilities"], {"features": x.astype(np.float32)})
    return np.asarray(probabilities[:, 1], dtype=np.float64)


def _read_step(installation: Installation, model: GuardedModel, step: Evidence) -> None:
    """Read the files of one step on the way back to the data, and verify their digests."""
    home = installation.home
    if step.stage in {TRAINED_MODEL, SIGNED_MODEL}:
        read_subjects(step, home.models / model.name / step.inputs["model"])
    elif step.stage == DATASET:
        read_subjects(step, dataset_folder(home, model.name, step.inputs["version"]))
    elif step.stage in {VALIDATED_DATASET, TRAINING_SET}:
        read_subjects(step, dataset_folder(home, model.name, step.cause))


def _set_champion(installation: Installation, model: GuardedModel, released: Release) -> None:
    """Point the alias in MLflow to the release. MLflow is imported only if the alias differs."""
    from secure_ml.lineage.mlflow_registry import champion, find_logged, set_champion

    logged = find_logged(installation.home, model.name, released.model_digest)
    if logged is None:
        raise UnavailableError(
            f"{model.name}: MLflow holds no version of the released model; restore its store, or sign the model again"
        )
    if champion(installation.home, model.name) != logged.version:
        set_champion(installation.home, model.name, logged.version)
