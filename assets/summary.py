"""Summary of the main job: what happened to each batch and why, the release, live traffic and drift.

On a terminal it fits one screen of 80 columns and 24 lines. Elsewhere nothing is cut.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from rich.console import Console
from rich.text import Text

from assets.live_traffic import Traffic
from secure_ml.commands.output import counted, plain
from secure_ml.errors import SecureMLError
from secure_ml.evidence import EvidenceLog
from secure_ml.installation import Installation
from secure_ml.releases import current_release
from secure_ml.spec import GuardedModel
from secure_ml.stage_names import RELEASE, TRAINED_MODEL, VALIDATED_DATASET

__all__ = ["BatchOutcome", "Stop", "Summary", "print_experiment", "print_summary"]

_MAX_LINES = 22  # a screen of 24 lines, less the prompt and the line above it
_MIN_BATCHES = 3
_STYLES = {"accepted": "green", "rejected": "red", "failed": "bold red"}


@dataclass(frozen=True, slots=True)
class Stop:
    """The stage that stopped a job, and the reason.

    Attributes:
        stage: Name of the stage.
        reason: Sentence of the gate, or type and first line of the error.
        raised: Whether the stage raised an error instead of refusing by its gate.
    """

    stage: str
    reason: str
    raised: bool = False

    def __str__(self) -> str:
        """Render as one sentence."""
        return f"{self.stage} failed: {self.reason}" if self.raised else f"refused by {self.stage}: {self.reason}"


@dataclass(frozen=True, slots=True)
class BatchOutcome:
    """Result of one batch. `accepted` is the decision of the intake, `stops` also holds those of the promotion."""

    name: str
    accepted: bool
    stops: tuple[Stop, ...] = ()

    @property
    def verdict(self) -> str:
        """Return `accepted`, `rejected` or `failed`."""
        if any(stop.raised for stop in self.stops):
            return "failed"
        return "accepted" if self.accepted else "rejected"


@dataclass(slots=True)
class Summary:
    """Results of one main job."""

    batches: list[BatchOutcome] = field(default_factory=list)
    traffic: list[Traffic] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Return whether a stage raised an error, or the monitoring did not finish."""
        return bool(self.failures) or any(outcome.verdict == "failed" for outcome in self.batches)


def print_summary(
    installation: Installation, model: GuardedModel, summary: Summary, console: Console | None = None
) -> None:
    """Print the summary of a job that ended with a release."""
    home = installation.home
    release = current_release(home, installation.trust, model.name)
    decision = EvidenceLog.open(installation, model.name).latest(RELEASE)
    head = [Text(f"{model.name}: release {release.number} serves model {release.model_digest[:12]}", style="bold")]
    if decision.decision == "rejected":
        head.append(Text(plain(f"the newest candidate was not promoted: {'; '.join(decision.reasons)}")))
    tail = [Text(""), *_traffic_lines(summary.traffic)] if summary.traffic else []
    tail += [Text(plain(f"FAILED {line}"), style="bold red") for line in summary.failures]
    secure_ml = ".venv/bin/secure-ml"
    tail += [
        Text(""),
        Text(f"everything is in {home.root}"),
        Text(f"  {secure_ml} quarantine list".ljust(46) + "rejected batches"),
        Text(f"  {secure_ml} verify {model.name}".ljust(46) + "the release, back to its data"),
        Text("  make ui".ljust(46) + "lineage, checks, reports"),
    ]
    _print(console or Console(highlight=False), installation, model, head, summary.batches, tail)


def print_experiment(
    installation: Installation, model: GuardedModel, summary: Summary, console: Console | None = None
) -> int:
    """Print what was trained under a policy that releases nothing.

    Returns:
        0 if the quality gate accepted the model, 1 otherwise.
    """
    trained = EvidenceLog.open(installation, model.name).latest(TRAINED_MODEL, tier_rules=installation.policy)
    head = [
        Text(f"{model.name}: {trained.decision} by the quality gate, under policy {installation.policy}", style="bold"),
        Text(f"model {installation.home.models / model.name / trained.inputs['model']}"),
    ]
    tail = [Text(plain(f"FAILED {line}"), style="bold red") for line in summary.failures]
    _print(console or Console(highlight=False), installation, model, head, summary.batches, tail)
    return 0 if trained.decision == "accepted" else 1


def _print(
    console: Console,
    installation: Installation,
    model: GuardedModel,
    head: list[Text],
    batches: list[BatchOutcome],
    tail: list[Text],
) -> None:
    live = console.is_terminal and not console.is_dumb_terminal
    room = max(_MIN_BATCHES, _MAX_LINES - len(head) - len(tail) - 2) if live else len(batches)
    rows = _batch_lines(installation, model, batches, room)
    for line in [Text(""), *head, Text(""), *rows, *tail]:
        if live:
            console.print(line, no_wrap=True, overflow="ellipsis")
        else:
            console.print(line, soft_wrap=True)


def _batch_lines(installation: Installation, model: GuardedModel, batches: list[BatchOutcome], room: int) -> list[Text]:
    """Return one line per batch. If there are too many, accepted ones are only counted."""
    shown = batches
    if len(batches) > room:
        shown = sorted(batches, key=lambda outcome: outcome.verdict == "accepted")[: room - 1]
    width = max([len("batch"), *(len(plain(outcome.name)) for outcome in shown)])
    lines = [Text(f"{'batch':<{width}}  {'verdict':<8}  why", style="dim")]
    for outcome in shown:
        line = Text(f"{plain(outcome.name):<{width}}  ")
        line.append(f"{outcome.verdict:<8}", style=_STYLES[outcome.verdict])
        lines.append(line.append(f"  {plain(_why(installation, model, outcome))}"))
    if len(shown) < len(batches):
        lines.append(Text(f"and {len(batches) - len(shown)} more"))
    return lines


def _why(installation: Installation, model: GuardedModel, outcome: BatchOutcome) -> str:
    """Return the reason of a verdict: the refusals, or the number of warnings."""
    if outcome.stops:
        prefix = f"{model.name}/{outcome.stops[0].stage} of batch {outcome.name}: rejected: "
        return "; ".join(f"{stop.stage}: {stop.reason.removeprefix(prefix)}" for stop in outcome.stops)
    try:
        evidence = EvidenceLog.open(installation, model.name).latest(
            VALIDATED_DATASET,
            batch=outcome.name,
            tier_rules=installation.policy,
        )
    except SecureMLError as error:
        return str(error)
    findings = evidence.facts.get("findings")
    count = len(findings) if isinstance(findings, list) else 0
    return counted(count, "warning") if count else "no warnings"


def _traffic_lines(traffic: list[Traffic]) -> list[Text]:
    lines = [Text("live traffic", style="dim")]
    for window in traffic:
        text = f"{window.title}: {window.answered} answered"
        if window.answered_before:
            text += f", {window.answered_before} answered before"
        if window.refused:
            text += f", {sum(window.refused.values())} refused with 400 ("
            text += "; ".join(f"{count} x {reason}" for reason, count in window.refused.most_common(3)) + ")"
        lines.append(Text(plain(text)))
        if window.drift:
            alarm = not window.drift.startswith("no drift")
            lines.append(Text(f"  {plain(window.drift)}", style="yellow" if alarm else "green"))
    return lines
