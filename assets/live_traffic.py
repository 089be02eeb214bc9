"""Live traffic of the main job: the service of the release, and real rows that are sent to it over HTTP."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from secure_ml.digests import canonical_json, sha256
from secure_ml.errors import SecureMLError, UnavailableError
from secure_ml.evidence import EvidenceLog, read_subjects
from secure_ml.inference_log.segments import logged_requests
from secure_ml.installation import Installation
from secure_ml.spec import GuardedModel
from secure_ml.stage_names import DATASET, TRAINING_SET
from secure_ml.stages.dataset import dataset_folder, read_batch
from secure_ml.stages.inference_log import sealed_segments
from secure_ml.stages.training_set import LIVE_FILE

__all__ = ["Row", "Traffic", "live_rows", "send", "service", "unanswered"]

_TIMEOUT_S = 60.0
Row: TypeAlias = dict[str, float | None]


@dataclass(slots=True)
class Traffic:
    """Answers of the service to one window of live rows."""

    title: str
    answered: int = 0
    answered_before: int = 0
    """Number of rows that this release answered in an earlier run. They are not sent again."""
    refused: Counter[str] = field(default_factory=Counter)
    """Number of rows that got status 400, by reason."""
    drift: str = ""
    """Sentence of the drift report of this window."""


@contextlib.contextmanager
def service(model: GuardedModel) -> Iterator[str]:
    """Run `secure-ml serve` on a free loopback port, yield its address, and stop it at the end.

    Raises:
        UnavailableError: If the service does not become ready.
    """
    command = [sys.executable, "-m", "secure_ml.cli", "serve", model.name, "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=dict(os.environ)) as process:
        try:
            yield _address(process)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()


def _address(process: subprocess.Popen[str]) -> str:
    lines: list[str] = []
    for line in process.stderr or []:
        lines.append(line.strip())
        if line.startswith("serving ") and " on http" in line:
            return line.rsplit(" on ", 1)[1].strip()
    raise UnavailableError(f"the service did not start: {' '.join(lines[-3:]) or 'it printed no reason'}")


def live_rows(
    installation: Installation, model: GuardedModel, warn: Callable[[str], None]
) -> list[tuple[str, list[Row]]]:
    """Return the windows of live traffic: rows kept out of training, then the batches that the model names for it.

    Args:
        installation: Where the batches are.
        model: The released model.
        warn: Takes a sentence about a batch that cannot be read.
    """
    import polars as pl

    from secure_ml.tables.batch_files import parse_batch

    home, trust = installation.home, installation.trust
    evidence = EvidenceLog(home, trust, model.name).latest(TRAINING_SET)
    tables = read_subjects(evidence, dataset_folder(home, model.name, evidence.cause))
    rows = pl.read_parquet(io.BytesIO(tables[LIVE_FILE])).select(pl.col(model.features).cast(pl.Float64))
    windows = [(f"rows of {model.split.batch} that were kept out of training", rows)] if rows.height else []
    for batch in model.split.live_batches:
        try:
            intake = EvidenceLog(home, trust, model.name).latest(DATASET, batch=batch)
            content = read_batch(intake, dataset_folder(home, model.name, intake.inputs["version"]))
        except SecureMLError as error:
            warn(f"no live rows of {batch}: {error}")
            continue
        table = parse_batch(content, model.batches, batch)
        windows.append((f"rows of {batch}", table.select(pl.col(model.features).cast(pl.Float64, strict=False))))
    return [(title, frame.to_dicts()) for title, frame in windows]


def unanswered(installation: Installation, model: GuardedModel, release: int, rows: list[Row]) -> list[tuple[str, Row]]:
    """Return the rows that this release has not answered, with their request ids.

    The request id of a row is the digest of the release number and the row.
    """
    known = logged_requests(installation.home, model.name, sealed_segments(installation, model.name))
    requests = [(sha256(canonical_json([release, row]))[:32], row) for row in rows]
    return [(request_id, row) for request_id, row in requests if request_id not in known]


def send(address: str, traffic: Traffic, requests: list[tuple[str, Row]], advance: Callable[[], None]) -> None:
    """Send rows over HTTP and count the answers in `traffic`.

    Raises:
        UnavailableError: If the service answers with a status other than 200 and 400.
    """
    for request_id, row in requests:
        status, answer = _post(f"{address}/predict", request_id, row)
        if status == 200:
            traffic.answered += 1
        elif status == 400:
            traffic.refused[str(answer.get("error")).replace("; ", " and ")] += 1
        else:
            raise UnavailableError(f"the service answered {status}, expected 200 or 400: {answer.get('error')}")
        advance()


def _post(url: str, request_id: str, row: Row) -> tuple[int, dict[str, Any]]:
    request = urllib.request.Request(  # noqa: S310 (our own loopback address)
        url,
        json.dumps(row).encode(),
        {"Content-Type": "application/json", "X-Request-ID": request_id},
    )
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:  # noqa: S310
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())
