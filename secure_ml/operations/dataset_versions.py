"""The versions of a model's datasets: what there is, how two differ, and verified bytes for whoever wants them.

Three stages make versions: `dataset` (named by the digest of the bytes as they arrived), `validated_dataset` and
`training_set` (named by the digest of all that they were made from). Everything shown comes from verified evidence.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from secure_ml.datasets.version_manifest import Difference, Manifest, compare_tables, parse_manifest
from secure_ml.errors import PreconditionError
from secure_ml.evidence import Evidence, EvidenceLog, read_subjects, require
from secure_ml.installation import Installation
from secure_ml.profiles.distances import Distance, compare_profiles
from secure_ml.profiles.document import Profile
from secure_ml.profiles.document import parse as parse_profile
from secure_ml.safe_files import create_folder
from secure_ml.spec import GuardedModel
from secure_ml.stage_names import DATASET, TRAINING_SET, VALIDATED_DATASET
from secure_ml.stages.dataset import dataset_folder, is_manifest, read_batch
from secure_ml.stages.training_set import TRAINING_FILE
from secure_ml.stages.validated_dataset import PROFILE_FILE, TABLE_FILE
from secure_ml.tables.batch_files import parse_batch

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Version", "checkout", "compare", "find_version", "list_versions"]

_STAGES = (DATASET, VALIDATED_DATASET, TRAINING_SET)
_PREFIX = re.compile(r"[0-9a-f]{4,64}")
_ID_DIGITS = 64


@dataclass(frozen=True, slots=True)
class Version:
    """One dataset version, or the refusal of one.

    Attributes:
        id: Digest that names it.
        evidence: The verified evidence.
        manifest: What it is made of, None for a refusal, a training set, and what was taken in before manifests.
    """

    id: str
    evidence: Evidence
    manifest: Manifest | None

    @property
    def batch(self) -> str | None:
        """The batch that it is a version of; None for a training set."""
        return self.evidence.inputs.get("batch")


def list_versions(installation: Installation, model: str, batch: str | None = None) -> list[Version]:
    """Return all versions and refusals of a model, or of one batch of it, oldest first.

    Raises:
        SecureMLError: Evidence or a manifest does not verify; it is named.
    """
    log = EvidenceLog.open(installation, model)
    found = [
        evidence
        for stage in _STAGES
        for evidence in log.history(stage)
        if batch is None or evidence.inputs.get("batch") == batch
    ]
    found.sort(key=lambda evidence: (evidence.made_at, evidence.cause))
    return [Version(_id(evidence), evidence, _manifest(installation, evidence)) for evidence in found]


def find_version(installation: Installation, model: str, name: str) -> Version:
    """Return an accepted version, by the first characters of its id, or the newest of a batch, by the batch's name.

    Whoever sends a batch may call it as the version of another begins: only all digits of an id then name the version.

    Raises:
        PreconditionError: None or more than one version begins so, and no batch is called so; or both.
        EvidenceRejectedError: It was refused.
        SecureMLError: Evidence does not verify; it is named.
    """
    found = list_versions(installation, model)
    of_batch = [version for version in found if version.batch == name and version.evidence.stage == DATASET]
    named = [version for version in found if _PREFIX.fullmatch(name) and version.id.startswith(name)]
    if of_batch and named and len(name) < _ID_DIGITS:
        raise PreconditionError(f"{model}: {name} is a batch, and a version begins so; give all digits of the version")
    if of_batch and not named:
        require(of_batch[-1].evidence)
        return of_batch[-1]
    if not _PREFIX.fullmatch(name):
        raise PreconditionError(
            f"{model}: no batch {name}, and no version begins so; see secure-ml dataset log {model}"
        )
    ids = {version.id for version in named}
    if len(ids) != 1:
        raise PreconditionError(f"{model}: {len(ids)} versions begin with {name}, expected one; give more digits")
    accepted = [version for version in named if version.evidence.decision == "accepted"]
    if not accepted:
        require(named[-1].evidence)
    return accepted[-1]


def checkout(installation: Installation, model: str, name: str, folder: Path) -> tuple[Version, list[str]]:
    """Write the verified files of a version into a new folder.

    Returns:
        The version, and the names of its files.

    Raises:
        PreconditionError: The folder is there already, lies in the home, or cannot be made; or no such version.
        SecureMLError: Evidence or a file does not verify; it is named, and nothing is written.
    """
    if folder.is_symlink() or folder.exists():
        raise PreconditionError(f"{folder}: is there already, and nothing is overwritten; name a new folder")
    if folder.absolute().resolve().is_relative_to(installation.home.root):
        raise PreconditionError(f"{folder}: lies in the home; name a folder outside of it")
    version = find_version(installation, model, name)
    files = read_subjects(version.evidence, dataset_folder(installation.home, model, version.id))
    try:
        create_folder(folder, files, drafts=folder.parent)
    except OSError as error:
        raise PreconditionError(f"{folder}: cannot be written ({error.strerror})") from None
    return version, sorted(files)


def compare(
    installation: Installation, model: GuardedModel, old: str, new: str
) -> tuple[Version, Version, Difference, tuple[Distance, ...] | None]:
    """Compare two versions of one stage: rows, columns, and profiles where both have one.

    Returns:
        The two versions, their difference, and the distances of their profiles, None where one has no profile.

    Raises:
        PreconditionError: No such version, or of different stages.
        SecureMLError: Evidence or a file does not verify; it is named.
    """
    before, after = (find_version(installation, model.name, name) for name in (old, new))
    if before.evidence.stage != after.evidence.stage:
        raise PreconditionError(
            f"{model.name}: {before.id[:12]} is a version of {before.evidence.stage}, {after.id[:12]} one of "
            f"{after.evidence.stage}; compare two of one stage"
        )
    tables = [_table(installation, model, version) for version in (before, after)]
    profiles = [_profile(installation, version) for version in (before, after)]
    distances = None
    if profiles[0] is not None and profiles[1] is not None:
        distances = compare_profiles(profiles[0], profiles[1])
    return before, after, compare_tables(*tables), distances


def _id(evidence: Evidence) -> str:
    return evidence.inputs["version"] if evidence.stage == DATASET else evidence.cause


def _read(installation: Installation, evidence: Evidence, file: str) -> bytes:
    """Read one file of a version, against the digest in its evidence."""
    only = replace(evidence, subjects={file: evidence.subjects[file]})
    return read_subjects(only, dataset_folder(installation.home, evidence.model, _id(evidence)))[file]


def _manifest(installation: Installation, evidence: Evidence) -> Manifest | None:
    names = [name for name in evidence.subjects if is_manifest(name)]
    if evidence.stage == TRAINING_SET or not names:
        return None
    return parse_manifest(_read(installation, evidence, names[0]), f"datasets/{_id(evidence)[:12]}/{names[0]}")


def _table(installation: Installation, model: GuardedModel, version: Version) -> pl.DataFrame:
    import polars as pl

    evidence = version.evidence
    if evidence.stage == DATASET:
        content = read_batch(evidence, dataset_folder(installation.home, model.name, version.id))
        return parse_batch(content, model.batches, version.id[:12])
    file = {VALIDATED_DATASET: TABLE_FILE, TRAINING_SET: TRAINING_FILE}
    return pl.read_parquet(io.BytesIO(_read(installation, evidence, file[evidence.stage])))


def _profile(installation: Installation, version: Version) -> Profile | None:
    """Return a version's profile; bytes as they arrived have that of the table that was made from them last."""
    evidence = version.evidence
    found = [evidence]
    if evidence.stage == DATASET:
        validated = EvidenceLog.open(installation, evidence.model).history(VALIDATED_DATASET)
        found = [item for item in validated if item.inputs.get("version") == version.id]
    found = [item for item in found if PROFILE_FILE in item.subjects]
    if not found:
        return None
    return parse_profile(_read(installation, found[-1], PROFILE_FILE))
