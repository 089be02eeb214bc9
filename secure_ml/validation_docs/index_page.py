"""The index of the validation docs: what blocks now, every model in every environment, and the trend over batches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, NamedTuple, TypeVar

from secure_ml.stage_names import TRAINING_SET
from secure_ml.validation_docs.charts import Chart, Verdict, trend
from secure_ml.validation_docs.pages import VERDICT_TEXTS, render_page
from secure_ml.validation_docs.state import Environment, Validation, ValidationState, newest_of_each_batch

__all__ = ["render_index"]

_MAX_TREND: Final = 60
_MAX_LISTED: Final = 200
_MAX_CARDS: Final = 10
_MAX_PASSED_ROWS: Final = 20
_ORDER: Final[tuple[Verdict, ...]] = ("blocked", "warned", "passed")
_SIGNS: Final = {"blocked": "✕", "warned": "!", "passed": "✓"}
_COUNTED: Final = {"blocked": "blocked", "warned": "with warnings", "passed": "passed"}
_NO_FINDING: Final = {TRAINING_SET: "The screens found nothing."}

Item = TypeVar("Item")


class Badge(NamedTuple):
    """A verdict, with its CSS class and text."""

    kind: str
    text: str


class BlockedCard(NamedTuple):
    """A blocked batch above the tables."""

    title: str
    link: str
    reason: str
    context: str


class BatchRow(NamedTuple):
    """A batch in the table of an environment."""

    batch: str
    link: str
    badge: Badge
    rows: str
    finding: str
    quarantine: str
    date: str


@dataclass(frozen=True, slots=True)
class Fold(Generic[Item]):
    """A list of which the reader sees the beginning.

    Attributes:
        shown: Items that are visible.
        hidden: Items in an element that the reader opens.
        summary: Label of that element.
        omitted: Number of items that only the JSON version lists.
    """

    shown: tuple[Item, ...]
    hidden: tuple[Item, ...]
    summary: str
    omitted: int


class MatrixCell(NamedTuple):
    """A model in an environment."""

    environment: str
    badges: list[Badge]


@dataclass(frozen=True, slots=True)
class Section:
    """The part of the index about one subject in one environment."""

    title: str
    badges: list[Badge]
    counts: str
    chart: Chart
    caption: str
    newest: Fold[BatchRow]
    earlier: Fold[BatchRow]


def render_index(state: ValidationState) -> tuple[bytes, dict[str, Any]]:
    """Return the index as an HTML page and as a JSON document."""
    newest = {environment: newest_of_each_batch(history) for environment, history in state.histories.items()}
    current = [item for items in newest.values() for item in items]
    undecided = [item for item in current if item.verdict == "blocked" and _is_undecided(item)]
    earlier = _earlier_rejections(state, undecided)
    several = len(state.homes) > 1
    undecided.sort(key=lambda item: item.evidence.made_at, reverse=True)
    environments = sorted({environment[1:] for environment in newest})
    page = render_page(
        "index.html",
        badges=_badges(current),
        counts=", ".join(
            [
                _count(len({item.evidence.model for item in state.validations}), "model"),
                _count(len(environments), "environment"),
                _count(len(state.validations), "validation"),
            ]
        ),
        unverified=state.unverified,
        blocked_count=len(undecided),
        blocked=_fold([_card(item, several) for item in undecided], _MAX_CARDS, "more blocked batches"),
        earlier_count=len(earlier),
        earlier=_fold([_card(item, several) for item in earlier], _MAX_CARDS, "more earlier rejections"),
        environments=[_environment(home, policy, several) for home, policy in environments],
        matrix=_matrix(newest, environments, several),
        sections=[_section(environment, history, several) for environment, history in state.histories.items()],
    )
    return page, _document(state, newest)


def _is_undecided(item: Validation) -> bool:
    return item.entry is None or item.entry.state == "open"


def _earlier_rejections(state: ValidationState, undecided: Sequence[Validation]) -> list[Validation]:
    """Return open rejections that a later batch of the same name would hide, newest first."""
    shown = {item.entry.refusal.document for item in undecided if item.entry is not None}
    newest = {
        (item.home, item.evidence.model, item.policy, item.evidence.inputs.get("version")): item
        for item in state.validations
        if item.entry is not None
        and item.entry.state == "open"
        and item.verdict == "blocked"
        and item.entry.refusal.document not in shown
    }
    return sorted(newest.values(), key=lambda item: item.evidence.made_at, reverse=True)


def _count(number: int, name: str, plural: str = "") -> str:
    return f"{number:,} {name if number == 1 else plural or name + 's'}"


def _environment(home: str, policy: str, several: bool) -> str:
    return f"home {home}, policy {policy}" if several else f"policy {policy}"


def _badges(items: Sequence[Validation]) -> list[Badge]:
    counts = Counter(item.verdict for item in items)
    return [
        Badge(verdict, f"{_SIGNS[verdict]} {counts[verdict]} {_COUNTED[verdict]}")
        for verdict in _ORDER
        if counts[verdict]
    ]


def _card(item: Validation, several: bool) -> BlockedCard:
    others = len(item.reasons) - 1
    more = f" · {_count(others, 'more reason')}" if others > 0 else ""
    return BlockedCard(
        title=f"{item.evidence.model}: {item.batch}",
        link=item.link,
        reason=item.reasons[0] if item.reasons else "",
        context=f"{_environment(item.home, item.policy, several)} · {item.evidence.made_at[:10]}{more}",
    )


def _fold(items: Sequence[Item], shown: int, summary: str) -> Fold[Item]:
    hidden = items[shown:]
    return Fold(
        shown=tuple(items[:shown]),
        hidden=tuple(hidden[:_MAX_LISTED]),
        summary=f"{len(hidden):,} {summary}",
        omitted=max(len(hidden) - _MAX_LISTED, 0),
    )


def _matrix(
    newest: dict[Environment, list[Validation]], environments: Sequence[tuple[str, str]], several: bool
) -> list[tuple[str, list[MatrixCell]]]:
    """Return one row for each subject, with the verdicts of its batches in each environment."""
    return [
        (
            subject,
            [
                MatrixCell(_environment(home, policy, several), _badges(newest.get((subject, home, policy), [])))
                for home, policy in environments
            ],
        )
        for subject in sorted({environment[0] for environment in newest})
    ]


def _section(environment: Environment, history: Sequence[Validation], several: bool) -> Section:
    subject, home, policy = environment
    newest = newest_of_each_batch(history)
    charted = history[-_MAX_TREND:]
    caption = (
        "Fraction of rows that violated the most violated rule, in "
        f"{'the only validation' if len(charted) == 1 else f'the newest {len(charted)} validations, oldest first'}."
    )
    newest_causes = {item.evidence.cause for item in newest}
    earlier = [item for item in reversed(history) if item.evidence.cause not in newest_causes]
    worst_first = sorted(newest, key=lambda item: _ORDER.index(item.verdict))
    passed = sum(item.verdict == "passed" for item in newest)
    visible = min(len(newest) - passed + _MAX_PASSED_ROWS, _MAX_LISTED)
    return Section(
        title=f"{subject} · {_environment(home, policy, several)}",
        badges=_badges(newest),
        counts=f"{_count(len(newest), 'batch', 'batches')}, {_count(len(history), 'validation')}",
        chart=trend([item.trend_bar for item in charted], caption),
        caption=caption,
        newest=_fold([_row(item) for item in worst_first], visible, "more batches"),
        earlier=_fold(
            [_row(item) for item in earlier],
            0,
            f"earlier validation{'' if len(earlier) == 1 else 's'} of these batches",
        ),
    )


def _row(item: Validation) -> BatchRow:
    return BatchRow(
        batch=item.batch,
        link=item.link,
        badge=Badge(item.verdict, VERDICT_TEXTS[item.verdict]),
        rows=f"{item.rows:,}",
        finding=item.reasons[0] if item.reasons else _NO_FINDING.get(item.evidence.stage, "All rules passed."),
        quarantine=item.entry.state_text if item.entry is not None else "",
        date=item.evidence.made_at[:10],
    )


def _document(state: ValidationState, newest: dict[Environment, list[Validation]]) -> dict[str, Any]:
    return {
        "homes": list(state.homes),
        "unverified": [{"home": item.home, "model": item.model, "problem": item.problem} for item in state.unverified],
        "environments": [
            {
                "subject": subject,
                "home": home,
                "policy": policy,
                "verdicts": dict(Counter(item.verdict for item in items)),
                "batches": {item.batch: item.link for item in items},
            }
            for (subject, home, policy), items in newest.items()
        ],
        "validations": [item.as_json() for item in state.validations],
    }
