"""Stage `signed_model`: scan the files, sign the folder as an OpenSSF Model Signing bundle, and log it in MLflow."""

from __future__ import annotations

from secure_ml.digests import digest_of, sha256
from secure_ml.errors import RejectedError, SecureMLError
from secure_ml.evidence import Evidence, EvidenceLog, read_subjects, require
from secure_ml.installation import Installation
from secure_ml.releases import SIGNATURE
from secure_ml.safe_files import read_file
from secure_ml.signing.model_signature import sign_model, verify_model
from secure_ml.spec import GuardedModel
from secure_ml.stage_names import SIGNED_MODEL, TRAINED_MODEL
from secure_ml.tiers import require_production

__all__ = ["sign"]


def sign(installation: Installation, model: GuardedModel) -> Evidence:
    """Sign the newest model that the present code trained.

    Raises:
        RejectedError: If it failed the quality gate or the scan, or its evidence, bytes or signature do not verify.
        UnavailableError: If the present code has no trained model, or the MLflow store does not answer.
    """
    home, log = installation.home, EvidenceLog.open(installation, model.name)
    require_production(installation.policy, f"{model.name}/signed_model")
    trained = log.latest(TRAINED_MODEL, tier_rules=installation.policy, code=model.code)
    require(trained)
    digest = trained.inputs["model"]
    folder = home.models / model.name / digest
    files = read_subjects(trained, folder)
    cause = digest_of({"model": digest, "code": model.code})
    known = log.find(SIGNED_MODEL, cause)
    if known is None:
        from secure_ml.lineage.mlflow_registry import log_model

        reasons = _scan(model, files)
        signed = dict(files)
        facts = {"evaluation": trained.facts["evaluation"]}
        if not reasons:
            signed[SIGNATURE] = _sign_once(installation, model, files)
            evaluation = trained.facts["evaluation"]
            logged = log_model(
                home,
                model.name,
                digest,
                signed,
                params={"training_set": trained.inputs["training_set"], "code": model.code, "seed": str(model.seed)},
                metrics={name: float(value) for name, value in evaluation.items() if isinstance(value, int | float)}
                if isinstance(evaluation, dict)
                else {},
            )
            facts |= {"mlflow": {"experiment": logged.experiment_id, "run": logged.run_id, "version": logged.version}}
        known = log.append(
            installation.signer(),
            stage=SIGNED_MODEL,
            cause=cause,
            reasons=reasons,
            subjects={name: sha256(content) for name, content in signed.items()},
            inputs={
                "evidence:trained_model": trained.document,
                "training_set": trained.inputs["training_set"],
                "model": digest,
                "code": model.code,
                "policy": installation.policy,
            },
            facts=facts,
        )
    if known.inputs["evidence:trained_model"] != trained.document:
        raise RejectedError(f"{model.name}/signed_model: rests on other evidence of its model than is there now")
    require(known)
    signed = read_subjects(known, folder)
    verify_model({name: signed[name] for name in files}, signed[SIGNATURE], installation.trust)
    return known


def _scan(model: GuardedModel, files: dict[str, bytes]) -> list[str]:
    from secure_ml.training.artifacts import scan_onnx, scan_skops

    try:
        scan_skops(files["model.skops"], model.artifact_types, "model.skops")
        scan_onnx(files["model.onnx"], len(model.features), "model.onnx")
    except SecureMLError as error:
        return [str(error)]
    return []


def _sign_once(installation: Installation, model: GuardedModel, files: dict[str, bytes]) -> bytes:
    """Sign the folder, or take the signature that a killed or parallel run left there, if it verifies."""
    from secure_ml.releases import model_digest

    path = installation.home.models / model.name / model_digest(files) / SIGNATURE
    if not path.exists():
        signer = installation.signer()
        installation.trust.key(signer.keyid, "model", f"{model.name}/signed_model")
        signature = sign_model(files, model.name, signer)
        try:
            installation.home.write_file(path, signature)
        except RejectedError:
            signature = read_file(path)
    signature = read_file(path)
    verify_model(files, signature, installation.trust)
    return signature
