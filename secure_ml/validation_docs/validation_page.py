"""The page of one validation: verdict, failing rules, quarantine, trend, distributions and the signed evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from secure_ml.digests import Json
from secure_ml.profiles.document import ColumnProfile, Profile, Value
from secure_ml.stage_names import DATASET, TRAINING_SET
from secure_ml.validation_docs.charts import (
    Chart,
    TrendBar,
    format_number,
    format_share,
    histogram,
    small_trend,
    trend,
    value_bars,
)
from secure_ml.validation_docs.pages import render_page
from secure_ml.validation_docs.state import Validation, ValidationState, count_in

__all__ = ["render_validation"]

_MAX_TREND: Final = 20
_MAX_COLUMNS: Final = 300
_MAX_VALUES: Final = 8
_MIN_VALUE_COUNT: Final = 5
_MAX_NUMBERS_AS_VALUES: Final = 6
_QUARANTINE_KINDS: Final = {"open": "blocked", "released": "passed", "accepted": "passed", "discarded": ""}


class Fact(NamedTuple):
    """A name and a text. Digests, paths and commands are shown as code."""

    name: str
    text: str
    code: bool = False


@dataclass(frozen=True, slots=True)
class FindingCard:
    """One failed rule: its verdict, what failed, the share of rows, and the trend of the same rule."""

    kind: str
    sentence: str
    share: str
    details: str
    chart: Chart | None


@dataclass(frozen=True, slots=True)
class QuarantineCard:
    """The quarantine entry of a validation."""

    kind: str
    title: str
    facts: list[Fact]


@dataclass(frozen=True, slots=True)
class ColumnCard:
    """The distribution of one column."""

    name: str
    kind: str
    summary: str
    chart: Chart | None
    note: str


def render_validation(
    state: ValidationState, item: Validation, profile: Profile | None, profile_problem: str
) -> tuple[bytes, dict[str, Any]]:
    """Return the page of a validation as HTML and as a JSON document.

    Args:
        state: All validations, for the trend up to this one.
        item: The validation.
        profile: The distributions that were signed with it. None if there are no distributions to show.
        profile_problem: Why the distributions cannot be shown. Empty if they can.
    """
    history = state.history_until(item, _MAX_TREND)
    document = item.as_json()
    document["trend"] = [{"batch": earlier.batch, "verdict": earlier.verdict} for earlier in history]
    document["profile"] = _profile_document(profile) if profile is not None else None
    findings = [(finding.get("tier") == "block", _finding(finding, history)) for finding in item.findings]
    columns, columns_title = _columns(item, profile)
    caption = f"the newest {len(history)} validations up to this one, which is the last"
    page = render_page(
        "validation.html",
        title=f"{item.evidence.model}: {item.batch}",
        verdict=item.verdict,
        context=[f"policy {item.policy}", *([f"home {item.home}"] if len(state.homes) > 1 else [])],
        summary=f"{_rows_summary(item)}; {_time(item.evidence.made_at)}",
        profile_problem=profile_problem,
        blocking=[card for blocks, card in findings if blocks],
        warnings=[card for blocks, card in findings if not blocks],
        reasons_title="Why this is not a table" if item.evidence.stage == DATASET else "Why this was rejected",
        reasons=item.evidence.reasons,
        all_passed=(
            "The screens found nothing." if item.evidence.stage == TRAINING_SET else "All rules of the contract passed."
        ),
        quarantine=_quarantine(item),
        trend=trend([earlier.trend_bar for earlier in history], caption) if len(history) > 1 else None,
        trend_caption=f"Fraction of rows that violated the most violated rule, in {caption}.",
        columns_title=columns_title,
        columns=columns,
        evidence=_evidence_facts(item),
        json_page=f"{item.evidence.cause}.json",
    )
    return page, document


def _rows_summary(item: Validation) -> str:
    if item.verdict == "blocked":
        return "no rows accepted"
    accepted = f"{item.rows:,} rows accepted"
    return f"{accepted}, {item.rejected_rows:,} rows in quarantine" if item.rejected_rows else accepted


def _finding(finding: dict[str, Json], history: Sequence[Validation]) -> FindingCard:
    column, code = finding.get("column"), str(finding.get("code", "check"))
    details = [f"column {column}" if column else "whole table", f"rule {finding.get('rule')}"]
    if code != "check":
        details.append(f"reason {code.replace('_', ' ')}")
    if finding.get("by") == "pandera":
        details.append("checked by pandera")
    bars = [_trend_bar(finding, earlier) for earlier in history]
    label = f"fraction of rows that failed, in {len(bars)} validations"
    return FindingCard(
        kind="blocked" if finding.get("tier") == "block" else "warned",
        sentence=str(finding.get("sentence")),
        share=format_share(count_in(finding, "failed"), count_in(finding, "rows")),
        details=" · ".join(details),
        chart=small_trend(bars, label) if len(bars) > 1 else None,
    )


def _trend_bar(finding: dict[str, Json], earlier: Validation) -> TrendBar:
    """Return the bar of the same rule in an earlier validation."""
    rule = (finding.get("column"), finding.get("rule"))
    same = [other for other in earlier.findings if (other.get("column"), other.get("rule")) == rule]
    if not same:
        return TrendBar(earlier.batch, "passed", 0.0, f"{earlier.batch}: passed")
    failed, rows = sum(count_in(other, "failed") for other in same), max(count_in(other, "rows") for other in same)
    blocks = any(other.get("tier") == "block" for other in same)
    tooltip = f"{earlier.batch}: {format_share(failed, rows)}"
    return TrendBar(earlier.batch, "blocked" if blocks else "warned", failed / max(rows, 1), tooltip)


def _quarantine(item: Validation) -> QuarantineCard | None:
    entry = item.entry
    if entry is None:
        return None
    identity = entry.refusal.cause[:12]
    facts = [Fact("id", identity, code=True)]
    if entry.decision is None:
        command = f"secure-ml quarantine show {item.evidence.model} {identity}"
        facts.append(Fact("state", "open: no decision yet" if entry.state == "open" else entry.state_text))
        facts.append(Fact("details", command, code=True))
    else:
        inputs = entry.decision.inputs
        facts += [Fact("state", entry.state), Fact("by", inputs["by"]), Fact("why", inputs["why"])]
        facts.append(Fact("time", _time(entry.decision.made_at)))
        for name, label in (("refused_under", "rejected under"), ("released_under", "released under")):
            if name in inputs:
                facts.append(Fact(label, f"contract {inputs[name][:12]}", code=True))
    subject = "The batch is" if entry.scope == "batch" else f"{item.rejected_rows:,} rows are"
    title = f"{subject} in quarantine" if entry.state == "open" else f"Quarantine: {entry.state_text}"
    return QuarantineCard(_QUARANTINE_KINDS[entry.state], title, facts)


def _columns(item: Validation, profile: Profile | None) -> tuple[list[ColumnCard], str]:
    """Return the distributions, columns with findings first, and their title."""
    if profile is None:
        return [], ""
    kinds: dict[str, str] = {}
    for finding in reversed(item.findings):
        if isinstance(column := finding.get("column"), str):
            kinds[column] = "blocked" if finding.get("tier") == "block" else "warned"
    order = sorted(profile.columns, key=lambda column: ("blocked", "warned", "").index(kinds.get(column.name, "")))
    shown = order[:_MAX_COLUMNS]
    omitted = f", the first {len(shown)} of {len(order)} columns" if len(shown) < len(order) else ""
    rows = "rows as received" if item.verdict == "blocked" else "accepted rows"
    cards = [_column(column, kinds.get(column.name, "")) for column in shown]
    return cards, f"Distributions ({profile.rows:,} {rows}{omitted})"


def _column(column: ColumnProfile, kind: str) -> ColumnCard:
    summary = f"{column.dtype}; {format_share(column.missing, column.count + column.missing)} missing"
    if column.distinct is not None:
        summary += f", {'' if column.distinct_exact else 'about '}{column.distinct:,} different"
    chart: Chart | None = None
    note = ""
    if column.personal:
        note = "This column is personal. Only counts are shown."
    elif column.kind in ("text", "boolean") or (column.distinct or 0) <= _MAX_NUMBERS_AS_VALUES:
        if column.count:
            chart = _frequent_values(column)
            note = "" if chart else f"No value occurs {_MIN_VALUE_COUNT} times or more."
    elif column.histogram and column.kind == "time":
        chart = histogram(column.histogram, f"histogram of {column.name}, microseconds since 1970")
    elif column.histogram:
        chart, note = histogram(column.histogram, f"histogram of {column.name}"), _figures(column)
    return ColumnCard(column.name, kind, summary, chart, note)


def _figures(column: ColumnProfile) -> str:
    figures = [("mean", column.mean), ("deviation", column.std), ("median", dict(column.quantiles).get(0.5))]
    return " · ".join(f"{name} {format_number(value)}" for name, value in figures if value is not None)


def _frequent_values(column: ColumnProfile) -> Chart | None:
    """Chart the frequent values. A value that occurs only a few times may identify a person, so it is not shown."""
    frequent = [(_value_text(column, value), count) for value, count in column.top if count >= _MIN_VALUE_COUNT]
    values = frequent[:_MAX_VALUES]
    if not values:
        return None
    others = column.count - sum(count for _, count in values)
    if others > 0:
        values.append(("other values", others))
    return value_bars(values, column.count, f"frequent values of {column.name}")


def _value_text(column: ColumnProfile, value: Value) -> str:
    if isinstance(value, str):
        return value or "(empty)"
    return ("false", "true")[bool(value)] if column.kind == "boolean" else format_number(value)


def _evidence_facts(item: Validation) -> list[Fact]:
    evidence = item.evidence
    facts = [Fact("version", evidence.inputs["version"], code=True)] if "version" in evidence.inputs else []
    if evidence.stage == TRAINING_SET:
        rows = evidence.facts.get("batches")
        batches = (
            ", ".join(f"{batch} ({count} rows)" for batch, count in rows.items()) if isinstance(rows, dict) else ""
        )
        facts.append(Fact("batches", batches))
    facts += [
        Fact("contract", evidence.inputs.get("contract", "none: rejected before the contract"), code=True),
        Fact("evidence", f"evidence/{evidence.model}/{evidence.stage}/{evidence.path.name}", code=True),
        Fact("evidence digest", evidence.document, code=True),
    ]
    return facts + [Fact(f"file {name}", digest, code=True) for name, digest in evidence.subjects.items()]


def _time(made_at: str) -> str:
    return f"{made_at[:10]} {made_at[11:16]} UTC"


def _profile_document(profile: Profile) -> dict[str, Any]:
    """Return the figures that are shown. The whole profile is a file of the dataset version."""
    names = ("name", "kind", "personal", "missing", "distinct", "distinct_exact", "mean", "std")
    return {
        "digest": profile.digest,
        "rows": profile.rows,
        "columns": [
            {name: getattr(column, name) for name in names} | {"histogram": [list(bin_) for bin_ in column.histogram]}
            for column in profile.columns
        ],
    }
