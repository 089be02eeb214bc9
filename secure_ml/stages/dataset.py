"""Stage `dataset`: the bytes of one batch, as they arrived, kept under their digest."""

from __future__ import annotations

import re
from pathlib import Path

from secure_ml.contracts.reading import parse_batch
from secure_ml.datasets.quarantine import render_quarantine
from secure_ml.digests import Digest, digest_of, sha256
from secure_ml.errors import MalformedError, PreconditionError, UnavailableError
from secure_ml.gates import Evidence, find, read_subjects, record, require
from secure_ml.home import Home, read_file
from secure_ml.installation import Installation
from secure_ml.spec import GuardedModel

__all__ = ["BATCH_FILE", "batch_names", "batch_path", "dataset", "dataset_cause", "dataset_folder", "inbox_batches"]

BATCH_FILE = "batch.csv"
_BATCH_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


def batch_names(model: GuardedModel, home: Home) -> list[str]:
    """Return the batches there are: those of the model's own file first, then those of its inbox."""
    named = list(model.batches.files)
    return named + [name for name in inbox_batches(model, home) if name not in named]


def inbox_batches(model: GuardedModel, home: Home) -> list[str]:
    """Return the batches in the model's inbox; a file whose name is not one of a batch is left alone."""
    inbox = home.inbox / model.name
    arrived = sorted(path.name.removesuffix(".csv") for path in inbox.glob("*.csv")) if inbox.is_dir() else []
    return [name for name in arrived if _BATCH_NAME.fullmatch(name)]


def dataset_cause(model: GuardedModel, batch: str, version: str) -> Digest:
    """Return the cause of taking in one version of a batch."""
    return digest_of(
        {
            "batch": batch,
            "version": version,
            "columns": list(model.batches.columns),
            "null": list(model.batches.null),
        }
    )


def batch_path(model: GuardedModel, home: Home, batch: str) -> Path:
    """Return the file that holds a batch; one in the inbox goes before one of the model's own file.

    Raises:
        PreconditionError: Not a batch name.
        UnavailableError: No such batch.
    """
    if not _BATCH_NAME.fullmatch(batch):
        raise PreconditionError("batch name: expected at most 100 letters, digits, '_', '.' and '-'")
    arrived = home.inbox / model.name / f"{batch}.csv"
    if arrived.is_symlink() or arrived.exists():
        return arrived
    if batch not in model.batches.files:
        raise UnavailableError(
            f"{model.name}: no batch {batch}; put {batch}.csv into {arrived.parent}, or name it in batches.files"
        )
    return model.batches.files[batch]


def dataset_folder(home: Home, model: str, version: str) -> Path:
    """Return the folder of one dataset version."""
    return home.datasets / model / version


def dataset(installation: Installation, model: GuardedModel, batch: str) -> Evidence:
    """Take one batch in: read once, kept under its digest if it is a table at all.

    Raises:
        RejectedError: It is no table (or was found to be none before); it is quarantined.
        UnavailableError: No such batch.
    """
    home, trust = installation.home, installation.trust
    path = batch_path(model, home, batch)
    reasons: list[str] = []
    rows, content = 0, b""
    try:
        content = read_file(path, max_bytes=model.batches.max_bytes)
        rows = parse_batch(content, model.batches, batch).height
    except MalformedError as error:
        reasons = [str(error)]
    version = sha256(content) if content else digest_of({"unread": reasons})
    inputs = {"batch": batch, "version": version}
    cause = dataset_cause(model, batch, version)
    folder = dataset_folder(home, model.name, version)
    known = find(home, trust, model.name, "dataset", cause)
    if known is None:
        if reasons:
            document = {"model": model.name, "stage": "dataset", "batch": batch, "dataset": version}
            home.write_folder(home.quarantine / model.name / cause, render_quarantine(reasons, document))
        else:
            home.write_folder(folder, {BATCH_FILE: content})
        known = record(
            home,
            installation.signer(),
            trust,
            model=model.name,
            stage="dataset",
            cause=cause,
            reasons=reasons,
            subjects={} if reasons else {BATCH_FILE: sha256(content)},
            inputs=inputs,
            facts={"rows": rows, "bytes": len(content), "source": path.name, "columns": list(model.batches.columns)},
        )
    require(known)
    read_subjects(known, folder)
    return known
