"""The versions of a model's datasets: list them, compare two, and check out verified bytes.

Three stages create versions: `dataset`, named by the digest of the bytes as they arrived, and `validated_dataset` and
`training_set`, named by the digest of everything that they were made from. All results come from verified evidence.
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
    """One dataset version, accepted or rejected.

    Attributes:
        id: Digest that names the version.
        evidence: Verified evidence of the version.
        manifest: Manifest of the version, or None for a rejection, a training set, and intakes before manifests
        existed.
    """

    id: str
    evidence: Evidence
    manifest: Manifest | None

    @property
    def batch(self) -> str | None:
        """Name of the batch, or None for a training set."""
        return self.evidence.inputs.get("batch")


def list_versions(installation: Installation, model: str, batch: str | None = None) -> list[Version]:
    """Return all accepted and rejected versions of a model, or of one of its batches, oldest first.

    Raises:
        SecureMLError: If evidence or a manifest does not verify. The message names it.
    """
    log = EvidenceLog.open(installation, model)
    documents = [
        evidence
        for stage in _STAGES
        for evidence in log.history(stage)
        if batch is None or evidence.inputs.get("batch") == batch
    ]
    documents.sort(key=lambda evidence: (evidence.made_at, evidence.cause))
    return [Version(_id(evidence), evidence, _manifest(installation, evidence)) for evidence in documents]


def find_version(installation: Installation, model: str, name: str) -> Version:
    """Return an accepted version by a prefix of its id, or the newest version of a batch by the name of the batch.

    A sender may name a batch like the prefix of a version. In this case only the complete id names the version.

    Raises:
        PreconditionError: If no version, more than one version, or both a version and a batch match.
        EvidenceRejectedError: If the version was rejected.
        SecureMLError: If evidence does not verify. The message names it.
    """
    versions = list_versions(installation, model)
    of_batch = [version for version in versions if version.batch == name and version.evidence.stage == DATASET]
    named = [version for version in versions if _PREFIX.fullmatch(name) and version.id.startswith(name)]
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
        PreconditionError: If the folder exists, lies in the home or cannot be written, or the version does not exist.
        SecureMLError: If evidence or a file does not verify. The message names it, and nothing is written.
    """
    if folder.is_symlink() or folder.exists():
        raise PreconditionError(f"{folder}: exists already, and nothing is overwritten; name a new folder")
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
    """Compare two versions of one stage: rows, columns, and profiles if both have one.

    Returns:
        The two versions, their difference, and the distances of their profiles, or None if one has no profile.

    Raises:
        PreconditionError: If a version does not exist, or the stages differ.
        SecureMLError: If evidence or a file does not verify. The message names it.
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
    """Read one file of a version, and verify its digest."""
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
    """Return the profile of a version. For an intake it is the profile of its newest validation."""
    evidence = version.evidence
    candidates = [evidence]
    if evidence.stage == DATASET:
        validated = EvidenceLog.open(installation, evidence.model).history(VALIDATED_DATASET)
        candidates = [item for item in validated if item.inputs.get("version") == version.id]
    candidates = [item for item in candidates if PROFILE_FILE in item.subjects]
    if not candidates:
        return None
    return parse_profile(_read(installation, candidates[-1], PROFILE_FILE))
