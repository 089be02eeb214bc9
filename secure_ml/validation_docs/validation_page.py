"""The page of one validated version: verdict, failing rules first, quarantine, distributions, and what is signed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from secure_ml.digests import Json
from secure_ml.profiles.document import ColumnProfile, Profile, Value
from secure_ml.validation_docs.charts import (
    Bar,
    draw_histogram,
    draw_small_trend,
    draw_trend,
    draw_values,
    figure,
    share,
)
from secure_ml.validation_docs.markup import Markup, element, page
from secure_ml.validation_docs.state import TRAINING_SET, State, Validation, count_of

__all__ = ["badge", "render_validation"]

_TREND: Final = 20
_MAX_COLUMNS: Final = 300
_MAX_VALUES: Final = 8
_RARE: Final = 5
_FEW: Final = 6
_SAID: Final = {"passed": "✓ passed", "warned": "! passed with warnings", "blocked": "✕ blocked"}


def badge(verdict: str, text: str = "") -> Markup:
    """Return a verdict as it is shown everywhere: by sign, word and colour."""
    return element("span", text or _SAID[verdict], _class=f"badge {verdict}")


def render_validation(
    state: State, item: Validation, profile: Profile | None, trouble: str
) -> tuple[bytes, dict[str, Any]]:
    """Render one page, and the same as a document.

    Args:
        state: All validations, for the trend up to this one.
        item: What was decided.
        profile: The distributions that were signed with it; None where there are none.
        trouble: Why they cannot be shown; empty where they can.
    """
    line = state.line_of(item, _TREND)
    document = item.as_json()
    document["trend"] = [{"batch": earlier.batch, "verdict": earlier.verdict} for earlier in line]
    document["profile"] = _profile_document(profile) if profile is not None else None
    evidence = item.evidence
    title = f"{evidence.model}: {item.batch}"
    going = f"{item.rows:,} rows go on" if item.verdict != "blocked" else "no row goes on"
    kept = f", {item.refused_rows:,} are kept aside" if item.verdict != "blocked" and item.refused_rows else ""
    body = [
        element("nav", element("a", "← all validations", href="../../index.html")),
        element("h1", title),
        element(
            "div",
            badge(item.verdict),
            element("span", f"policy {item.policy}", _class="badge"),
            *([element("span", f"home {item.place}", _class="badge")] if len(state.places) > 1 else []),
            element("span", f"{going}{kept}; {_moment(evidence.made_at)}", _class="soft"),
            _class="row",
        ),
        *([element("p", trouble, _class="card blocked")] if trouble else []),
        *_findings(item, line),
        *_quarantine(item),
        *_trend(line),
        *_distributions(item, profile),
        *_signed(item),
        element(
            "footer",
            "Made from signed evidence that verified against the trust root when the page was made. The page itself is "
            "not signed, and no gate reads it.",
        ),
    ]
    return page(f"{title}: {item.verdict}", *body), document


def _findings(item: Validation, line: Sequence[Validation]) -> list[Markup]:
    blocking = [found for found in item.findings if found.get("tier") == "block"]
    warning = [found for found in item.findings if found.get("tier") != "block"]
    parts: list[Markup] = []
    if blocking:
        parts.append(element("h2", f"Failing rules ({len(blocking)})"))
        parts += [_finding(found, line) for found in blocking]
    elif item.evidence.reasons:
        parts.append(element("h2", "Why it is no table" if item.evidence.stage == "dataset" else "Why it was refused"))
        parts += [element("div", reason, _class="card blocked strong") for reason in item.evidence.reasons]
    if warning:
        parts.append(element("h2", f"Warnings ({len(warning)})"))
        parts += [_finding(found, line) for found in warning]
    if not parts:
        said = (
            "No screen found anything." if item.evidence.stage == TRAINING_SET else "Every rule of the contract holds."
        )
        parts.append(element("p", said, _class="card passed"))
    return parts


def _finding(found: dict[str, Json], line: Sequence[Validation]) -> Markup:
    blocks = found.get("tier") == "block"
    failed, rows = count_of(found, "failed"), count_of(found, "rows")
    kind = "blocked" if blocks else "warned"
    column = found.get("column")
    said = [f"column {column}" if column else "whole table", f"rule {found.get('rule')}"]
    code = str(found.get("code", "check"))
    if code != "check":
        said.append(f"reason {code.replace('_', ' ')}")
    if found.get("by") == "pandera":
        said.append("run by pandera")
    bars = [_bar_of(found, earlier) for earlier in line]
    trend = [draw_small_trend(bars, f"share of rows that failed, over {len(bars)} validations")]
    return element(
        "article",
        element(
            "div",
            badge(kind, "✕ blocks" if blocks else "! warns"),
            element("span", str(found.get("sentence")), _class="grow strong"),
            *(trend if len(bars) > 1 else []),
            element("span", share(failed, rows), _class="strong"),
            _class="row",
        ),
        element("p", " · ".join(said), _class="soft"),
        _class=f"card {kind}",
    )


def _bar_of(found: dict[str, Json], earlier: Validation) -> Bar:
    """Return what the same rule found in an earlier validation."""
    same = [
        other
        for other in earlier.findings
        if (other.get("column"), other.get("rule")) == (found.get("column"), found.get("rule"))
    ]
    if not same:
        return Bar(earlier.batch, "passed", 0.0, f"{earlier.batch}: held")
    failed, rows = sum(count_of(other, "failed") for other in same), max(count_of(other, "rows") for other in same)
    part = failed / max(rows, 1)
    blocks = any(other.get("tier") == "block" for other in same)
    return Bar(earlier.batch, "blocked" if blocks else "warned", part, f"{earlier.batch}: {share(failed, rows)}")


def _quarantine(item: Validation) -> list[Markup]:
    entry = item.entry
    if entry is None:
        return []
    short = entry.refusal.cause[:12]
    what = "The batch is" if entry.kept == "batch" else f"{item.refused_rows:,} rows are"
    facts: list[tuple[str, str | Markup]] = [("id", element("code", short))]
    if entry.decision is None:
        command = f"secure-ml quarantine show {item.evidence.model} {short}"
        state = "open: nobody decided yet" if entry.state == "open" else entry.said
        facts += [("state", state), ("look", element("code", command))]
    else:
        inputs = entry.decision.inputs
        facts += [("state", entry.state), ("by", inputs["by"]), ("why", inputs["why"])]
        facts.append(("on", _moment(entry.decision.made_at)))
        for name, text in (("refused_under", "refused under"), ("released_under", "released under")):
            if name in inputs:
                facts.append((text, element("code", f"contract {inputs[name][:12]}")))
    kind = "passed" if entry.state in ("released", "accepted") else "blocked" if entry.state == "open" else ""
    title = element("h3", f"{what} in quarantine" if entry.state == "open" else f"Quarantine: {entry.said}")
    return [element("h2", "Quarantine"), element("div", title, _facts(facts), _class=f"card {kind}".strip())]


def _trend(line: Sequence[Validation]) -> list[Markup]:
    if len(line) < 2:
        return []
    label = f"the newest {len(line)} validations up to this one, the last is this one"
    return [
        element("h2", "Trend over batches"),
        element(
            "div",
            draw_trend([item.bar for item in line], label),
            element("p", f"Share of rows that broke the worst rule; {label}.", _class="soft"),
            _class="card",
        ),
    ]


def _distributions(item: Validation, profile: Profile | None) -> list[Markup]:
    if profile is None or not profile.columns:
        return []
    worst: dict[str, str] = {}
    for found in reversed(item.findings):
        if isinstance(column := found.get("column"), str):
            worst[column] = "blocked" if found.get("tier") == "block" else "warned"
    order = sorted(profile.columns, key=lambda column: ("blocked", "warned", "").index(worst.get(column.name, "")))
    shown = order[:_MAX_COLUMNS]
    more = f", the first {len(shown)} of {len(order)}" if len(shown) < len(order) else ""
    of = "rows that go on" if item.verdict != "blocked" else "rows, as they arrived"
    return [
        element("h2", f"Distributions ({profile.rows:,} {of}{more})"),
        element("div", *(_column(column, worst.get(column.name, "")) for column in shown), _class="grid"),
    ]


def _column(column: ColumnProfile, kind: str) -> Markup:
    rows = column.count + column.missing
    total = f"{share(column.missing, rows)} missing"
    distinct = (
        "" if column.distinct is None else f", {'' if column.distinct_exact else 'about '}{column.distinct:,} different"
    )
    name = element(
        "div",
        element("h3", column.name),
        *([badge(kind, {"blocked": "✕", "warned": "!"}[kind])] if kind else []),
        _class="row",
    )
    parts: list[Markup] = [name, element("p", f"{column.dtype}; {total}{distinct}", _class="soft")]
    if column.personal:
        parts.append(element("p", "Personal: counts only.", _class="soft"))
    elif column.kind in ("text", "boolean") or (column.distinct or 0) <= _FEW:
        parts += _values(column) if column.count else []
    elif column.histogram:
        parts += _numbers(column)
    return element("div", *parts, _class=f"card {kind}".strip())


def _numbers(column: ColumnProfile) -> list[Markup]:
    quantiles = dict(column.quantiles)
    facts = [("mean", column.mean), ("deviation", column.std), ("median", quantiles.get(0.5))]
    said = " · ".join(f"{name} {figure(value)}" for name, value in facts if value is not None)
    if column.kind == "time":
        return [draw_histogram(column.histogram, f"histogram of {column.name}, microseconds since 1970")]
    return [draw_histogram(column.histogram, f"histogram of {column.name}"), element("p", said, _class="soft")]


def _values(column: ColumnProfile) -> list[Markup]:
    """Draw the frequent values; a value that occurs a few times may be about one person, and is not named."""
    top = [(_named(column, value), count) for value, count in column.top if count >= _RARE][:_MAX_VALUES]
    rest = column.count - sum(count for _, count in top)
    if not top:
        return [element("p", f"No value occurs {_RARE} times or more.", _class="soft")]
    if rest > 0:
        top.append(("all others", rest))
    return [draw_values(top, column.count, f"frequent values of {column.name}")]


def _named(column: ColumnProfile, value: Value) -> str:
    if isinstance(value, str):
        return value or "(empty)"
    return ("false", "true")[bool(value)] if column.kind == "boolean" else figure(value)


def _signed(item: Validation) -> list[Markup]:
    evidence = item.evidence
    facts: list[tuple[str, str | Markup]] = [
        *([("version", element("code", evidence.inputs["version"]))] if "version" in evidence.inputs else []),
        *([("made of", _batches(item))] if evidence.stage == TRAINING_SET else []),
        ("contract", element("code", evidence.inputs.get("contract", "none: no contract was asked"))),
        ("evidence", element("code", f"evidence/{evidence.model}/{evidence.stage}/{evidence.path.name}")),
        ("its digest", element("code", evidence.document)),
    ]
    facts += [(f"file {name}", element("code", digest)) for name, digest in evidence.subjects.items()]
    data = element("a", "this page as JSON", href=f"{evidence.cause}.json")
    return [element("h2", "What is signed"), element("div", _facts(facts), element("p", data), _class="card")]


def _batches(item: Validation) -> str:
    rows = item.evidence.facts.get("batches")
    return ", ".join(f"{batch} ({count} rows)" for batch, count in rows.items()) if isinstance(rows, dict) else ""


def _facts(pairs: Sequence[tuple[str, str | Markup]]) -> Markup:
    return element("dl", *(part for name, value in pairs for part in (element("dt", name), element("dd", value))))


def _moment(made_at: str) -> str:
    return f"{made_at[:10]} {made_at[11:16]} UTC"


def _profile_document(profile: Profile) -> dict[str, Any]:
    """Return the figures that are drawn; the whole profile lies beside the dataset."""
    return {
        "digest": profile.digest,
        "rows": profile.rows,
        "columns": [
            {
                "name": column.name,
                "kind": column.kind,
                "personal": column.personal,
                "missing": column.missing,
                "distinct": column.distinct,
                "distinct_exact": column.distinct_exact,
                "mean": column.mean,
                "std": column.std,
                "histogram": [list(bin_) for bin_ in column.histogram],
            }
            for column in profile.columns
        ],
    }
