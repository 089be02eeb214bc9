"""The front page of `make ui`: the state of each model, and what needs a person.

A model has five tiles: release, quarantine, drift, inference log and integrity check. The first four come from signed
evidence, verified for each request. The integrity check comes from Dagster's history, which is not signed, and the
page says so. A document that does not verify turns its tile red and does not hide the other tiles.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Literal
from urllib.parse import quote

from assets.integrity_history import IntegrityResult, load_integrity_results
from secure_ml.errors import SecureMLError, UnavailableError
from secure_ml.evidence import Evidence, EvidenceLog
from secure_ml.installation import Installation
from secure_ml.lineage.mlflow_registry import find_logged
from secure_ml.orchestration.integrity_checks import INTACT
from secure_ml.quarantine.entries import QuarantineEntry, entries
from secure_ml.releases import current_release
from secure_ml.spec import GuardedModel
from secure_ml.stage_names import DRIFT_REPORT, DRIFT_RESPONSE, GRAPH_STAGES, INFERENCE_LOG, RELEASE, VALIDATED_DATASET
from secure_ml.validation_docs import OWN_HOME, NamedHome, load_state, page_of, render_page

__all__ = ["TEMPLATES", "UiAddresses", "render_front_page", "render_report_list"]

Kind = Literal["passed", "warned", "blocked", "neutral"]

TEMPLATES: Final = Path(__file__).parent / "templates"
_MAX_LINKS: Final = 5
_MAX_INTEGRITY_AGE: Final = timedelta(hours=26)  # the check runs nightly, and a run may take two hours
_ORDER: Final[tuple[Kind, ...]] = ("blocked", "warned", "passed", "neutral")
_DOCS_INDEX: Final = "/validation/index.html"
_INTEGRITY: Final = "Integrity check"


@dataclass(frozen=True, slots=True)
class UiAddresses:
    """Addresses of the other two web servers of `make ui`."""

    dagster: str
    mlflow: str

    def asset(self, model: str, stage: str, check: str = "") -> str:
        """Return the address of an asset in the Dagster UI, or of one of its checks."""
        view = f"view=checks&checkDetail={check}" if check else "view=overview"
        return f"{self.dagster}/assets/{quote(model)}/{quote(stage)}?{view}"


@dataclass(frozen=True, slots=True)
class Link:
    """A text and its address."""

    text: str
    url: str


@dataclass(frozen=True, slots=True)
class Need:
    """Something that a person must look at.

    Attributes:
        kind: Whether it blocks or only warns.
        model: Name of the model.
        text: The problem, and the expected action if there is one.
        links: Pages that show it.
    """

    kind: Kind
    model: str
    text: str
    links: tuple[Link, ...]


@dataclass(frozen=True, slots=True)
class Tile:
    """One fact about a model."""

    title: str
    kind: Kind
    headline: str
    details: tuple[str, ...] = ()
    links: tuple[Link, ...] = ()
    needs: tuple[Need, ...] = ()


@dataclass(frozen=True, slots=True)
class Sources:
    """The inputs of one model's tiles."""

    installation: Installation
    log: EvidenceLog
    model: GuardedModel
    addresses: UiAddresses
    now: datetime


def render_front_page(
    installation: Installation, models: Sequence[GuardedModel], addresses: UiAddresses, now: datetime | None = None
) -> bytes:
    """Render the front page.

    Args:
        installation: Home and trust root.
        models: The registered models.
        addresses: Where Dagster and MLflow answer.
        now: The time of the page. The default is the current time.
    """
    now = now or datetime.now(UTC)
    try:
        integrity, problem = load_integrity_results(installation.home, [model.name for model in models]), ""
    except UnavailableError as error:
        integrity, problem = {}, str(error)
    sections, needs = [], _unverified_needs(installation)
    for model in models:
        sources = Sources(installation, EvidenceLog.open(installation, model.name), model, addresses, now)
        tiles = [
            _tile("Release", sources, RELEASE, _release_tile),
            _tile("Quarantine", sources, VALIDATED_DATASET, _quarantine_tile),
            _tile("Drift", sources, DRIFT_REPORT, _drift_tile),
            _tile("Inference log", sources, INFERENCE_LOG, _log_tile),
            _integrity_tile(sources, integrity.get(model.name, []), problem),
        ]
        needs += [need for tile in tiles for need in tile.needs]
        sections.append((model.name, model.description, tiles))
    needs.sort(key=lambda need: _ORDER.index(need.kind))
    summary = f"{_count(len(needs), 'thing needs', 'things need')} a person" if needs else "Nothing needs a person"
    return render_page(
        "front_page.html",
        TEMPLATES,
        title=f"{summary} · secure-ml",
        kind=needs[0].kind if needs else "passed",
        summary=summary,
        time=_time(now.isoformat()),
        needs=needs,
        models=sections,
        addresses=addresses,
    )


def render_report_list(installation: Installation, models: Sequence[str]) -> bytes:
    """Render the list of all drift reports, newest first, with the digest that names each file."""
    sections = []
    for model in models:
        rows, problem = [], ""
        try:
            reports = EvidenceLog.open(installation, model).history(DRIFT_REPORT)
        except SecureMLError as error:
            reports, problem = [], str(error)
        for report in reversed(reports):
            sentence = str(report.facts.get("sentence", ""))
            for name in report.subjects:
                rows.append((name, _report_url(model, name), _time(report.made_at), sentence, report.decision))
        sections.append((model, rows, problem))
    return render_page("report_list.html", TEMPLATES, models=sections)


def _tile(title: str, sources: Sources, stage: str, build: Callable[[Sources], Tile]) -> Tile:
    """Build a tile. If its evidence does not verify, the tile says which document and the page asks for a person."""
    try:
        return build(sources)
    except SecureMLError as error:
        link = _dagster_link(sources, stage)
        need = Need("blocked", sources.model.name, f"{title}: {error}", (link,))
        return Tile(title, "blocked", "does not verify", (str(error),), (link,), (need,))


def _release_tile(sources: Sources) -> Tile:
    installation, name = sources.installation, sources.model.name
    link = _dagster_link(sources, RELEASE)
    try:
        release = current_release(installation.home, installation.trust, name)
    except UnavailableError:
        need = Need("warned", name, "Nothing is released, so the model cannot serve.", (link,))
        return Tile("Release", "warned", "nothing released", (), (link,), (need,))
    details, links = [f"model {release.model_digest[:12]}"], [link]
    try:
        logged = find_logged(installation.home, name, release.model_digest)
    except UnavailableError:
        logged = None
    if logged is None:
        details.append("not found in MLflow")
    else:
        details.append(f"version {logged.version} in MLflow")
        path = f"/#/experiments/{quote(logged.experiment_id)}/runs/{quote(logged.run_id)}"
        links.append(Link("MLflow run", sources.addresses.mlflow + path))
    details.append(f"released {_time(release.made_at)}")
    decisions = sources.log.history(RELEASE)
    if decisions and decisions[-1].decision == "rejected":
        details.append("The newest candidate was not promoted.")
    return Tile("Release", "passed", f"release {release.number}", tuple(details), tuple(links))


def _quarantine_tile(sources: Sources) -> Tile:
    name = sources.model.name
    waiting = [entry for entry in entries(sources.log) if entry.state == "open"]
    if not waiting:
        return Tile("Quarantine", "passed", "nothing waiting", (), (Link("validation docs", _DOCS_INDEX),))
    links = tuple(_entry_link(entry) for entry in reversed(waiting))[:_MAX_LINKS]
    if len(waiting) > _MAX_LINKS:
        links += (Link(f"{len(waiting) - _MAX_LINKS} more", _DOCS_INDEX),)
    windows = sum(entry.scope == "window" for entry in waiting)
    counts = [_count(len(waiting) - windows, "batch", "batches")] if windows < len(waiting) else []
    counts += [_count(windows, "window", "windows")] if windows else []
    kinds = " and ".join(counts)
    text = f"{kinds} in quarantine {'needs' if len(waiting) == 1 else 'need'} a decision (secure-ml quarantine list)."
    need = Need("blocked", name, text, links)
    details = (kinds, f"newest {_time(max(entry.refusal.made_at for entry in waiting))}")
    return Tile("Quarantine", "blocked", f"{len(waiting)} waiting", details, links, (need,))


def _entry_link(entry: QuarantineEntry) -> Link:
    if entry.scope == "window":
        return Link("window of live traffic", f"/reports.html#{quote(entry.refusal.model)}")
    return Link(entry.refusal.inputs.get("batch", ""), f"/validation/{quote(page_of(entry.refusal))}")


def _drift_tile(sources: Sources) -> Tile:
    name = sources.model.name
    dagster = _dagster_link(sources, DRIFT_REPORT)
    try:
        report = sources.log.latest(DRIFT_REPORT)
    except UnavailableError:
        return Tile("Drift", "neutral", "no report yet", (), (dagster,))
    links = (*(Link("drift report", _report_url(name, file)) for file in report.subjects), dagster)
    sentence = str(report.facts.get("sentence", ""))
    details = (sentence, f"release {report.inputs['release']}, {_time(report.made_at)}")
    if report.decision == "accepted":
        return Tile("Drift", "passed", "no alarm", details, links)
    response = _alarm_response(sources, report)
    if response is None:
        return Tile("Drift", "warned", "alarm, decided", details, links)
    need = Need("blocked", name, f"{sentence[:1].upper()}{sentence[1:]}. {response}", links)
    return Tile("Drift", "blocked", "alarm", details, links, (need,))


def _alarm_response(sources: Sources, report: Evidence) -> str | None:
    """Return how a drift alarm was answered, or None if it needs no person any more.

    That is so if a person decided about the quarantined window, or a newer release serves.
    """
    home, trust, name = sources.installation.home, sources.installation.trust, sources.model.name
    responses = sources.log.history(DRIFT_RESPONSE)
    answers = [item for item in responses if item.inputs.get("evidence:drift_report") == report.document]
    if not answers:
        return "No response is recorded yet."
    if answers[-1].inputs["response"] == "quarantine":
        decided = {entry.refusal.document for entry in entries(sources.log) if entry.state != "open"}
        return None if answers[-1].document in decided else "The window is in quarantine."
    serving = str(current_release(home, trust, name).number)
    return "A retrained candidate did not replace the release." if report.inputs["release"] == serving else None


def _log_tile(sources: Sources) -> Tile:
    link = _dagster_link(sources, INFERENCE_LOG)
    segments = sources.log.history(INFERENCE_LOG)
    if not segments:
        return Tile("Inference log", "neutral", "no segment yet", (), (link,))
    newest = segments[-1]
    details = (
        f"newest of {_count(len(segments), 'segment', 'segments')}",
        f"{newest.facts.get('rows')} records",
        f"sealed {_time(newest.made_at)}",
    )
    return Tile("Inference log", "passed", f"segment {newest.cause[:8]}", details, (link,))


def _integrity_tile(sources: Sources, results: Sequence[IntegrityResult], problem: str) -> Tile:
    link = _dagster_link(sources, RELEASE, INTACT)
    if problem:
        need = Need("warned", sources.model.name, problem, (link,))
        return Tile(_INTEGRITY, "warned", "unknown", (problem,), (link,), (need,))
    needs = [*_integrity_needs(sources, results), *_overdue_needs(sources, results)]
    if not results:
        kind: Kind = "warned" if needs else "neutral"
        return Tile(_INTEGRITY, kind, "has not run yet", ("It runs every night.",), (link,), tuple(needs))
    outcomes = {result.outcome for result in results}
    if "failed" in outcomes:
        kind, headline = "blocked", "failed"
    elif "unfinished" in outcomes:
        kind, headline = "warned", "did not finish"
    elif "running" in outcomes:
        kind, headline = "neutral", "is running"
    elif len(results) < len(GRAPH_STAGES):
        kind, headline = "warned", "passed in part"
    else:
        kind, headline = ("warned", "passed, overdue") if needs else ("passed", "passed")
    passed = sum(result.outcome == "passed" for result in results)
    details = (
        f"{passed} of {len(GRAPH_STAGES)} stages passed",
        _time(min(result.time for result in results).isoformat()),
    )
    links = tuple(_dagster_link(sources, item.stage, INTACT) for item in results if item.outcome != "passed")
    return Tile(_INTEGRITY, kind, headline, details, links or (link,), tuple(needs))


def _integrity_needs(sources: Sources, results: Sequence[IntegrityResult]) -> list[Need]:
    needs = []
    for result in results:
        link = _dagster_link(sources, result.stage, INTACT)
        if result.outcome == "failed":
            text = f"The integrity check of {result.stage} failed: {result.description}"
            needs.append(Need("blocked", sources.model.name, text, (link,)))
        elif result.outcome == "unfinished":
            text = f"The integrity check of {result.stage} ended without a result. The log of its run says why."
            needs.append(Need("warned", sources.model.name, text, (link,)))
    return needs


def _overdue_needs(sources: Sources, results: Sequence[IntegrityResult]) -> list[Need]:
    """Ask for a person if the nightly check has not run although something was released before the last night."""
    installation, name = sources.installation, sources.model.name
    try:
        released = current_release(installation.home, installation.trust, name).made_at
    except SecureMLError:  # the tile of the release says so
        return []
    last = min((result.time for result in results), default=datetime.fromisoformat(released))
    if sources.now - last <= _MAX_INTEGRITY_AGE:
        return []
    since = f"since {_time(last.isoformat())}"
    text = f"No complete integrity check has run {since}. Check that Dagster's daemon and the nightly schedule run."
    return [Need("warned", name, text, (Link("schedules in Dagster", f"{sources.addresses.dagster}/automation"),))]


def _unverified_needs(installation: Installation) -> list[Need]:
    state = load_state([NamedHome(OWN_HOME, installation.home)], installation.trust)
    link = Link("validation docs", _DOCS_INDEX)
    return [Need("blocked", item.model, f"Does not verify: {item.problem}", (link,)) for item in state.unverified]


def _dagster_link(sources: Sources, stage: str, check: str = "") -> Link:
    text = f"check of {stage}" if check else "Dagster asset"
    return Link(text, sources.addresses.asset(sources.model.name, stage, check))


def _report_url(model: str, name: str) -> str:
    return f"/{quote(model)}/{quote(name)}"


def _count(number: int, singular: str, plural: str) -> str:
    return f"{number:,} {singular if number == 1 else plural}"


def _time(timestamp: str) -> str:
    return f"{timestamp[:10]} {timestamp[11:16]} UTC"
