"""Each validated version and each training set carries its profile, under the signature of its evidence."""

from __future__ import annotations

import io

import polars as pl
import pytest

from secure_ml.contracts.engine.declared_profiles import profile_frame
from secure_ml.digests import parse_json
from secure_ml.errors import RejectedError
from secure_ml.evidence import read_subjects
from secure_ml.installation import Installation
from secure_ml.models.heart_disease import model
from secure_ml.profiles.document import parse
from secure_ml.profiles.merging import merge
from secure_ml.stages.dataset import dataset_folder, ingest_batch
from secure_ml.stages.training_set import TRAINING_FILE, build_training_set
from secure_ml.stages.validated_dataset import PROFILE_FILE, TABLE_FILE, validate_batch


def test_versions_and_training_sets_have_signed_profiles(installation: Installation) -> None:
    ingest_batch(installation, model, "cleveland")
    validated, trained = validate_batch(installation, model, "cleveland"), build_training_set(installation, model)
    for evidence, table in ((validated, TABLE_FILE), (trained, TRAINING_FILE)):
        files = read_subjects(evidence, dataset_folder(installation.home, model.name, evidence.cause))
        profile = parse(files[PROFILE_FILE])
        assert profile.digest == evidence.subjects[PROFILE_FILE]
        frame = pl.read_parquet(io.BytesIO(files[table]))
        assert profile == profile_frame(frame, model.schema)
        halves = profile_frame(frame[:100], model.schema), profile_frame(frame[100:], model.schema)
        assert [column.tally for column in merge(*halves).columns] == [column.tally for column in profile.columns]
    manifest = parse_json(files["manifest.json"], "manifest")
    assert trained.subjects[PROFILE_FILE] in str(manifest)


def test_another_profile_in_place_of_the_signed_one_is_refused(installation: Installation) -> None:
    ingest_batch(installation, model, "cleveland")
    validated = validate_batch(installation, model, "cleveland")
    path = dataset_folder(installation.home, model.name, validated.cause) / PROFILE_FILE
    path.write_bytes(path.read_bytes().replace(b'"rows":303', b'"rows":304'))
    for use in (
        lambda: validate_batch(installation, model, "cleveland"),
        lambda: build_training_set(installation, model),
    ):
        with pytest.raises(RejectedError, match=r"profile\.json"):
            use()
