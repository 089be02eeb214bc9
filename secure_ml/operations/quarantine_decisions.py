"""Stage `quarantine_decision`: the signed decision of a person about a rejected batch.

A rejection stands until a person decides. A later contract that accepts the same bytes changes nothing by itself: the
data gate (`stages.validated_dataset`) asks `hold` first, and goes on only if every rejection of these bytes was
released.

A release is validated in six steps, and the code carries their numbers:

1. The rejection is verified, signed evidence. The folder `quarantine/` proves nothing, because anybody who can write
the
   home can write there.
2. A contract rejected the batch, so that a changed contract can accept it, and no discard of these bytes is on record.
3. The model has another contract than the one that rejected the batch. The decision holds both digests.
4. The newest version of the batch is the rejected one.
5. The present contract accepts it when checked now.
6. The decision is signed, and the batch is validated under the present contract like any other batch.

A discard is final, and the same bytes never go on. If they are accepted or in use already, a discard needs an explicit
confirmation. The name of the person is a claim of whoever ran the command. The signature only proves that the signing
key was available.
"""

from __future__ import annotations

import re
from typing import Literal

from secure_ml.digests import digest_of
from secure_ml.errors import PreconditionError, RejectedError
from secure_ml.evidence import Evidence, EvidenceLog
from secure_ml.installation import Installation
from secure_ml.quarantine.entries import REFUSAL, QuarantineEntry, entries, of_version, rows_aside, speaks_against
from secure_ml.releases import releases
from secure_ml.spec import GuardedModel
from secure_ml.stage_names import QUARANTINE_DECISION, TRAINING_SET, VALIDATED_DATASET
from secure_ml.stages.validated_dataset import check_newest_version, validate_batch

__all__ = ["discard_entry", "find_entry", "release_entry"]


def release_entry(
    installation: Installation, model: GuardedModel, identity: str, *, decided_by: str, reason: str
) -> Evidence:
    """Release one entry and validate its batch under the present contract.

    Args:
        installation: Installation with home, signer and trust root.
        model: Model with its present contract.
        identity: First characters of the entry's id.
        decided_by: Name of the person who decides.
        reason: Reason for later readers.

    Returns:
        The decision. If it was made before, the one on record.

    Raises:
        RejectedError: If the entry may not be released. The message gives the reason.
        PreconditionError: If the entry does not exist, or name or reason are not one line of text.
    """
    decision = _decide(installation, model, "release", identity, decided_by, reason)
    validate_batch(installation, model, decision.inputs["batch"])
    return decision


def discard_entry(
    installation: Installation,
    model: GuardedModel,
    identity: str,
    *,
    decided_by: str,
    reason: str,
    in_use: bool = False,
) -> Evidence:
    """Discard one entry. The same bytes, or the rows that were set aside, never go on.

    Args:
        installation: Installation with home, signer and trust root.
        model: Model of the entry.
        identity: First characters of the entry's id.
        decided_by: Name of the person who decides.
        reason: Reason for later readers.
        in_use: Whether to discard bytes that are accepted or in use.

    Returns:
        The decision. If it was made before, the one on record.

    Raises:
        RejectedError: If the entry was released, or its bytes are in use and `in_use` is false.
        PreconditionError: If the entry does not exist, or name or reason are not one line of text.
    """
    return _decide(installation, model, "discard", identity, decided_by, reason, in_use=in_use)


def _decide(
    installation: Installation,
    model: GuardedModel,
    action: Literal["release", "discard"],
    identity: str,
    decided_by: str,
    reason: str,
    *,
    in_use: bool = False,
) -> Evidence:
    log = EvidenceLog.open(installation, model.name)
    decided_by, reason = _line(decided_by, "--by", 200), _line(reason, "--why", 1000)
    quarantined = entries(log)
    # 1. Signed evidence of the rejection.
    entry = find_entry(quarantined, model.name, identity)
    if entry.decision is not None:
        if entry.decision.inputs["action"] == action:
            return entry.decision
        raise RejectedError(
            f"quarantine {entry.refusal.cause[:12]}: was {entry.state} already, {_describe(entry.decision)}"
        )
    refusal = entry.refusal
    inputs = {
        "batch": refusal.inputs.get("batch", ""),
        "version": refusal.inputs.get("version", ""),
        "policy": installation.policy,
        "action": action,
        "by": decided_by,
        "why": reason,
    }
    version = inputs["version"]
    covered = [entry]
    if action == "release":
        if entry.scope == "batch":  # every rejection of these bytes by a contract
            covered = [item for item in of_version(quarantined, version) if _open_as(item, entry)]
        inputs |= _require_releasable(installation, model, entry, quarantined, covered)
    elif not in_use:
        _require_unused(log, model, entry)
    inputs |= {f"{REFUSAL}{item.refusal.cause[:16]}": item.refusal.document for item in covered}
    about = {name: value for name, value in inputs.items() if name not in ("by", "why")}
    return log.append(
        installation.signer(),
        stage=QUARANTINE_DECISION,
        cause=digest_of(about),
        reasons=["discarded"] if action == "discard" else [],
        subjects={},
        inputs=inputs,
        facts={"refused_because": list(refusal.reasons)},
    )


def _require_releasable(
    installation: Installation,
    model: GuardedModel,
    entry: QuarantineEntry,
    quarantined: list[QuarantineEntry],
    covered: list[QuarantineEntry],
) -> dict[str, str]:
    """Require that the entry may be released, and return the inputs that name the change of contract."""
    refusal = entry.refusal
    where = f"quarantine {refusal.cause[:12]}"
    # 2. A contract rejected it, and it was not discarded.
    if refusal.stage != VALIDATED_DATASET:
        raise RejectedError(
            f"{where}: {refusal.stage} put it there, and no contract; only what a contract refused can be released. "
            "Mend the file and put it into the inbox, or discard the entry"
        )
    if any(item.state == "discarded" for item in of_version(quarantined, refusal.inputs["version"])):
        raise RejectedError(f"{where}: the same bytes were discarded before; a discard is final")
    if refusal.inputs["policy"] != installation.policy:
        raise RejectedError(
            f"{where}: was refused under policy {refusal.inputs['policy']}, and this is {installation.policy}; "
            "decide where it was refused (SECURE_ML_POLICY)"
        )
    # 3. The contract changed.
    before, now = refusal.inputs["contract"], model.contract_digest
    if now in {item.refusal.inputs["contract"] for item in covered}:
        raise RejectedError(
            f"{where}: the contract has not changed since it refused the batch (digest {now[:12]}), and would refuse "
            f"it again; change the contract of {model.name} and say why, or discard the batch"
        )
    # 4. It is the newest version. 5. The present contract accepts it.
    batch = refusal.inputs["batch"]
    version, split = check_newest_version(installation, model, batch)
    if version != refusal.inputs["version"]:
        raise RejectedError(
            f"{where}: batch {batch} has a newer version ({version[:12]}) than the one that was refused; discard it"
        )
    if split.accepted is None:
        blocking = [finding.sentence for finding in split.report.findings if finding.tier == "block"]
        raise RejectedError(f"{where}: the present contract (digest {now[:12]}) refuses it too: {'; '.join(blocking)}")
    if entry.scope == "rows":
        rows = rows_aside(installation.home, refusal)
        still = rows & frozenset(split.failing_rows["row"].to_list())
        if still:
            raise RejectedError(
                f"{where}: {len(still)} of {len(rows)} rows break the present contract (digest {now[:12]}) too"
            )
    return {"refused_under": before, "released_under": now}


def _require_unused(log: EvidenceLog, model: GuardedModel, entry: QuarantineEntry) -> None:
    """Require that the bytes of an entry are not accepted or in use. The message names where they are."""
    validated = log.history(VALIDATED_DATASET)
    accepted = [item for item in validated if item.decision == "accepted" and speaks_against(entry, item)]
    documents = {item.document for item in accepted}
    sets = [item for item in log.history(TRAINING_SET) if documents & set(item.inputs.values())]
    causes = {item.cause for item in sets}
    published = releases(log.home, log.trust, model.name)
    batches = {(item.inputs["batch"], item.inputs["policy"]) for item in accepted}
    used = [f"batch {batch} is accepted (policy {policy})" for batch, policy in sorted(batches)]
    known = {item.inputs["version"] for item in validated}
    if entry.state == "accepted" and entry.refusal.inputs["version"] not in known:
        used += [f"batch {entry.refusal.inputs['batch']} is taken in, and not validated yet"]
    used += [f"training set {item.cause[:12]} holds them" for item in sets]
    used += [
        f"release {item.number} was trained on them{', and it is the newest' if item is published[-1] else ''}"
        for item in published
        if item.inputs["training_set"] in causes
    ]
    if not used:
        return
    holdout = (
        f"; {model.split.batch} gives the holdout: without other bytes under its name no training set is made"
        if model.split.batch in {batch for batch, _ in batches}
        else ""
    )
    raise RejectedError(
        f"quarantine {entry.refusal.cause[:12]}: the same bytes are in use: {'; '.join(used)}{holdout}. A discard is "
        "final, and no new training set holds them after it; to discard them all the same, add --in-use"
    )


def _open_as(item: QuarantineEntry, entry: QuarantineEntry) -> bool:
    alike = item.refusal.inputs.get("policy") == entry.refusal.inputs.get("policy")
    return item.state == "open" and item.scope == "batch" and alike


def find_entry(quarantined: list[QuarantineEntry], model: str, identity: str) -> QuarantineEntry:
    """Return the entry whose id begins with `identity`.

    Raises:
        PreconditionError: If no entry or more than one begins so.
    """
    if not re.fullmatch(r"[0-9a-f]{1,64}", identity):
        raise PreconditionError("quarantine id: expected hexadecimal digits, as quarantine list prints them")
    matching = [entry for entry in quarantined if entry.refusal.cause.startswith(identity)]
    if len(matching) != 1:
        raise PreconditionError(f"quarantine id: {len(matching)} signed refusals of {model} begin so, expected one")
    return matching[0]


def _describe(decision: Evidence) -> str:
    return f"by {decision.inputs['by']} on {decision.made_at[:10]}: {decision.inputs['why']}"


def _line(text: str, name: str, longest: int) -> str:
    line = text.strip()
    if not line or len(line) > longest or not line.isprintable():
        raise PreconditionError(f"{name}: expected one line of at most {longest} printable characters")
    return line
