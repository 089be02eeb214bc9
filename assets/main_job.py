"""The main job of one model: batches to release, the service under real rows, the log sealed, drift reported."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import dagster as dg

from secure_ml.commands.output import plain
from secure_ml.digests import canonical_json, sha256
from secure_ml.errors import SecureMLError, UnavailableError
from secure_ml.evidence import history, latest, read_subjects
from secure_ml.inference_log.segments import logged_requests
from secure_ml.installation import Installation
from secure_ml.orchestration.keys import TRAINED_MODEL, TRAINING_SET, VALIDATED_DATASET, job_name
from secure_ml.releases import current_release
from secure_ml.spec import GuardedModel, find_model
from secure_ml.stages.dataset import dataset_folder, read_batch
from secure_ml.stages.incoming import batch_names
from secure_ml.stages.inference_log import sealed_segments
from secure_ml.stages.training_set import LIVE_FILE

if TYPE_CHECKING:
    from dagster_shared.error import SerializableErrorInfo

__all__ = ["Summary", "print_experiment", "run_model"]

_START_S = 60.0
_MAX_CAUSE = 200
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}  # the event log in the UI has it all


@dataclass(slots=True)
class Summary:
    """What happened, what was refused and why."""

    refused: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    served: list[str] = field(default_factory=list)


def run_model(installation: Installation, name: str) -> int:
    """Run the main job of one model and print a summary.

    Returns:
        0 where a release serves, a batch was accepted and everything refused was refused by a gate, 1 otherwise.

    Raises:
        UnavailableError: Nothing is released, or trained where the policy releases nothing; the message says why.
    """
    model = find_model(name)
    summary = Summary()
    accepted = 0
    stopped: list[str] = []
    with dg.DagsterInstance.get() as instance:
        names = batch_names(model, installation.home)
        stale = _stale(installation, model) & set(names)
        undecided = False
        for index, batch in enumerate(sorted(names, key=lambda name: name not in stale), start=1):
            _say(f"batch {batch}: from its bytes to the promotion rule")
            stops = _execute(instance, model, "intake", batch)
            accepted += not stops
            undecided |= not stops
            if undecided and index >= len(stale):
                stops += _execute(instance, model, "promotion")
                undecided = False
            for stop in stops:
                _say(str(stop))
                (summary.failed if stop.raised else summary.refused).append(f"{batch}: {stop.stage}: {stop.reason}")
                stopped.append(f"batch {batch}: {stop}")
        if not accepted:
            summary.failed.append("intake: no batch was accepted; mend the batches, or the contract")
        try:
            if installation.policy != "production":
                return print_experiment(installation, model, summary)
            released = current_release(installation.home, installation.trust, model.name)
        except UnavailableError as error:
            if not stopped:
                raise
            what = "released" if installation.policy == "production" else "trained"
            raise UnavailableError(
                f"{model.name}: nothing is {what}; the last that stopped it: {stopped[-1]}"
            ) from error
        _say(f"release {released.number}: starting the service on loopback")
        with _service(model) as address:
            windows = _live_rows(installation, model)
            for index, (title, rows) in enumerate(windows):
                said, answered = _send(installation, model, address, released.number, title, rows)
                summary.served.append(said)
                if not answered and index < len(windows) - 1:
                    continue
                _say("sealing the inference log, comparing its window with the training set")
                for stop in _execute(instance, model, "monitoring"):
                    summary.failed.append(f"{stop.stage}: {stop.reason}")
                report = latest(installation.home, installation.trust, model.name, "drift_report")
                summary.served.append(f"  {report.facts.get('sentence')}")
        for stop in _execute(instance, model, "drift_response"):
            summary.failed.append(f"drift_response: {stop.reason}")
    _print(installation, model, summary)
    return 1 if summary.failed else 0


def _stale(installation: Installation, model: GuardedModel) -> set[str]:
    """Return the batches that were accepted, and not decided on since the model's definition changed.

    No training set is made before all of them are decided on again: they come first, and promotion waits for the last.
    """
    try:
        known = history(installation.home, installation.trust, model.name, VALIDATED_DATASET)
    except SecureMLError as error:
        _say(f"batches are taken as they are named: {error}")  # each stage refuses it for itself
        return set()
    found = [evidence for evidence in known if evidence.inputs.get("policy") == installation.policy]
    present = {item.inputs["batch"] for item in found if item.inputs["contract"] == model.contract_digest}
    return {item.inputs["batch"] for item in found if item.decision == "accepted"} - present


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


@dataclass(frozen=True, slots=True)
class _Stop:
    """Which stage went no further, why, and whether it raised where a gate would have refused."""

    stage: str
    reason: str
    raised: bool = False

    def __str__(self) -> str:
        return f"{self.stage} failed: {self.reason}" if self.raised else f"refused by {self.stage}: {self.reason}"


def _execute(instance: dg.DagsterInstance, model: GuardedModel, purpose: str, batch: str | None = None) -> list[_Stop]:
    """Execute one of a model's jobs in process; return what stopped it."""
    from assets.definitions import defs

    job = defs.resolve_job_def(job_name(model.name, purpose))
    result = job.execute_in_process(instance=instance, partition_key=batch, raise_on_error=False, run_config=_QUIET)
    stops = []
    for event in result.all_events:
        if event.is_step_failure:
            failure = event.step_failure_data
            stage = (event.step_key or "").removeprefix(f"{model.name}__")
            description = failure.user_failure_data.description if failure.user_failure_data else None
            stops.append(_Stop(stage, description or _cause(failure.error), raised=description is None))
    if not result.success and not stops:
        stops.append(_Stop(purpose, "the run failed; its log in the UI says why", raised=True))
    return stops


def _cause(error: SerializableErrorInfo | None) -> str:
    """Return type and first line of what a model's own code, or a library under it, raised, cut short.

    The text is that of whoever wrote the code, and goes to the terminal and Dagster's log only, never into evidence.
    """
    while error is not None and error.cause is not None:
        error = error.cause
    lines = error.message.strip().splitlines() if error is not None else []
    said = plain(lines[0].strip()) if lines else "it did not say why"
    return said if len(said) <= _MAX_CAUSE else said[:_MAX_CAUSE] + "..."


@contextlib.contextmanager
def _service(model: GuardedModel) -> Iterator[str]:
    """Start `secure-ml serve` on a free loopback port; it is stopped again at the end.

    Raises:
        UnavailableError: It did not become ready.
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
    said: list[str] = []
    for line in process.stderr or []:
        said.append(line.strip())
        if line.startswith("serving ") and " on http" in line:
            return line.rsplit(" on ", 1)[1].strip()
    raise UnavailableError(f"the service did not start: {' '.join(said[-3:]) or 'it said nothing'}")


def _live_rows(installation: Installation, model: GuardedModel) -> list[tuple[str, list[dict[str, float | None]]]]:
    """Return the windows of live traffic: rows kept out of training, then batches of another kind."""
    import polars as pl

    from secure_ml.tables.batch_files import parse_batch

    home, trust = installation.home, installation.trust
    given = latest(home, trust, model.name, TRAINING_SET)
    tables = read_subjects(given, dataset_folder(home, model.name, given.cause))
    own = pl.read_parquet(io.BytesIO(tables[LIVE_FILE])).select(pl.col(model.features).cast(pl.Float64))
    windows = [(f"rows of {model.split.batch} that were kept out of training", own)] if own.height else []
    for batch in model.split.live_batches:
        try:
            taken = latest(home, trust, model.name, "dataset", batch=batch)
            content = read_batch(taken, dataset_folder(home, model.name, taken.inputs["version"]))
        except SecureMLError as error:
            _say(f"no live rows of {batch}: {error}")
            continue
        table = parse_batch(content, model.batches, batch)
        windows.append((f"rows of {batch}", table.select(pl.col(model.features).cast(pl.Float64, strict=False))))
    return [(title, frame.to_dicts()) for title, frame in windows]


def _send(
    installation: Installation,
    model: GuardedModel,
    address: str,
    number: int,
    title: str,
    rows: list[dict[str, float | None]],
) -> tuple[str, int]:
    """Send each row that this release has not answered yet; a row's request id is the digest of what is asked."""
    known = logged_requests(installation.home, model.name, sealed_segments(installation, model.name))
    ids = [sha256(canonical_json([number, row]))[:32] for row in rows]
    todo = [(request_id, row) for request_id, row in zip(ids, rows, strict=True) if request_id not in known]
    _say(f"{title}: sending {len(todo)} of {len(rows)} rows over HTTP")
    refused: Counter[str] = Counter()
    answered = 0
    for request_id, row in todo:
        status, answer = _post(f"{address}/predict", request_id, row)
        if status == 200:
            answered += 1
        elif status == 400:
            refused[str(answer.get("error")).replace("; ", " and ")] += 1
        else:
            raise UnavailableError(f"the service answered {status}: {answer.get('error')}")
    text = f"{title}: {answered} answered, {len(rows) - len(todo)} had been answered before"
    if refused:
        text += f", {sum(refused.values())} refused with 400 ("
        text += "; ".join(f"{count} x {reason}" for reason, count in refused.most_common(3)) + ")"
    return text, answered


def _post(url: str, request_id: str, row: dict[str, float | None]) -> tuple[int, dict[str, Any]]:
    request = urllib.request.Request(  # noqa: S310 (our own loopback address)
        url,
        json.dumps(row).encode(),
        {"Content-Type": "application/json", "X-Request-ID": request_id},
    )
    try:
        with urllib.request.urlopen(request, timeout=_START_S) as response:  # noqa: S310
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def print_experiment(installation: Installation, model: GuardedModel, summary: Summary) -> int:
    """Say what was trained under a policy that releases nothing; 0 where the quality gate took the model."""
    trained = latest(installation.home, installation.trust, model.name, TRAINED_MODEL, policy=installation.policy)
    print(f"\n{model.name}: {trained.decision} by the quality gate, under policy {installation.policy}")
    print(f"  model {installation.home.models / model.name / trained.inputs['model']}\n\nRefused, and why:")
    for line in summary.refused:
        print(f"  {line}")
    return 0 if trained.decision == "accepted" else 1


def _print(installation: Installation, model: GuardedModel, summary: Summary) -> None:
    home = installation.home
    now = current_release(home, installation.trust, model.name)
    decision = latest(home, installation.trust, model.name, "release")
    print(f"\n{model.name}: release {now.number} serves model {now.model_digest[:12]}")
    if decision.decision == "rejected":
        print(f"  the newest candidate was not promoted: {'; '.join(decision.reasons)}")
    print("\nRefused, and why:")
    for line in summary.refused or ["nothing"]:
        print(f"  {line}")
    print("\nLive traffic:")
    for line in summary.served:
        print(f"  {line}")
    for line in summary.failed:
        print(f"\nFAILED {line}")
    print(
        f"\nWhere things are: {home.root}\n"
        f"  release    {now.path}\n"
        f"  model      {home.models / model.name / now.model_digest}\n"
        f"  quarantine {home.quarantine / model.name}\n"
        f"  reports    {home.reports / model.name}\n"
        "\nTry next:\n"
        "  make ui                              lineage, checks, partitions, reports\n"
        f"  .venv/bin/secure-ml verify {model.name}\n"
        f"  .venv/bin/secure-ml quarantine list\n"
        f"  .venv/bin/secure-ml serve {model.name}"
    )
