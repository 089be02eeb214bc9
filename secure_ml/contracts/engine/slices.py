"""Slices: parts of a batch held against the same contract, named in a small form that is no code.

COLUMN            each value of the column, at most 100
COLUMN=VALUE      the rows with this value; with nothing after `=`, those where it is missing
COLUMN=LOW..HIGH  numbers, dates or times from LOW up to and without HIGH; either may be left out

`--slice` takes such a text; so does the contract, in the metadata of the schema, for slices that are looked at wherever
it is: `{"secure_ml": {"slices": ("shop", "age=18..65")}}`. A `Slice` of Python may be any expression of columns.

Shares, means and quantiles can fail in a slice while the whole batch satisfies them. What the whole batch fails is not
said again. In fewer than 30 rows a share is no evidence: such a slice is not judged, and the report says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from secure_ml.contracts.engine.binding import BoundContract
from secure_ml.contracts.engine.row_rules import UnsupportedRule, count_where, literal
from secure_ml.contracts.engine.run import run_rules
from secure_ml.contracts.findings import Finding, Report, Unjudged, in_order
from secure_ml.contracts.rules import Rules
from secure_ml.errors import PreconditionError
from secure_ml.tables.queries import fetch

if TYPE_CHECKING:
    import ibis
    import polars as pl

__all__ = ["Slice", "with_slices"]

_MAX_SLICES = 100
_LEAST_ROWS = 30
_INTEGER = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Slice:
    """Parts of a batch, by the values of an expression.

    Attributes:
        name: For people; stands in findings.
        expression: From the columns, by name and typed as declared, to what the batch is divided by.
    """

    name: str
    expression: Callable[[Mapping[str, ibis.Value]], ibis.Value]


@dataclass(frozen=True, slots=True)
class _Part:
    """The rows of one slice.

    Attributes:
        label: What it is called in findings.
        rows: How many there are.
        holds: An ibis boolean.
    """

    label: str
    rows: int
    holds: ibis.BooleanValue


def with_slices(
    report: Report,
    bound: BoundContract,
    rules: Rules,
    *,
    environment: str | None = None,
    more: Sequence[str | Slice] = (),
) -> Report:
    """Add what the slices of the contract, and more, break that the whole table does not.

    Args:
        report: What the contract found in the whole table.
        bound: The contract, bound to the table.
        rules: The contract.
        environment: Where the table comes from.
        more: Slices beside the contract's own. Each part costs a scan.

    Raises:
        PreconditionError: One of `more` cannot be made: no such column, personal, no value of the column's type, too
            many values.
    """
    known = {(finding.column, finding.rule) for finding in report.findings}
    # What is about the batch as a whole has no meaning in a part of it.
    inner = replace(rules, rules=tuple(rule for rule in rules.rules if rule.code not in ("duplicates", "row_count")))
    found, unjudged = list(report.findings), list(report.unjudged)
    for asked in dict.fromkeys([*rules.slices, *more]):
        name = asked if isinstance(asked, str) else asked.name
        try:
            parts = list(_parts(bound, rules, asked))
        except PreconditionError as error:
            if asked not in rules.slices:
                raise PreconditionError(f"slice {name}: {error}") from None
            sentence = f"slice {name}: cannot be judged: {error}"
            found.append(
                Finding(None, f"slice({name})", report.rows, report.rows, rules.tier, sentence, "check", "compiled")
            )
            continue
        unjudged += [Unjudged(name, part.label, part.rows) for part in parts if part.rows < _LEAST_ROWS]
        for part in parts:
            if part.rows >= _LEAST_ROWS:
                rows = bound.table.filter(part.holds).select(*bound.dtypes)
                part_table = bound.opened.with_table(rows)
                inside, _ = run_rules(part_table, inner, environment=environment, is_slice=True)
                found += _said(inside, part, known)
    return replace(report, findings=in_order(found), unjudged=tuple(unjudged))


def _said(report: Report, part: _Part, known: set[tuple[str | None, str]]) -> Iterator[Finding]:
    for finding in report.findings:
        if (finding.column, finding.rule) not in known:
            said = f"slice {part.label} ({report.rows} rows): {finding.sentence}"
            yield replace(finding, rule=f"{finding.rule} in slice {part.label}", sentence=said)


def _parts(bound: BoundContract, rules: Rules, asked: str | Slice) -> Iterator[_Part]:
    if isinstance(asked, Slice):
        yield from _by_value(bound, asked.name, asked.expression(_columns(bound)), None)
        return
    name, condition = _read(asked, [*bound.dtypes, *(column.name for column in rules.columns)])
    if name not in bound.keys or name in bound.pandera_columns:
        raise PreconditionError("no such column in the table, or one that has to be cast first")
    if any(column.name == name and column.settings.get("personal") for column in bound.declared):
        raise PreconditionError("the column is personal, and its values would stand in findings")
    value = _columns(bound)[name]
    if condition is None:
        yield from _by_value(bound, name, value, name)
        return
    holds = _holds(value, condition, bound.cells[name].dtype if name in bound.cells else bound.dtypes[name])
    (counted,) = fetch(bound.opened, bound.table.aggregate(rows=count_where(holds)))
    yield _Part(asked if condition else f"{name}=missing", int(counted["rows"]), holds)


def _read(asked: str, names: Iterable[str]) -> tuple[str, str | None]:
    """Return the column and the condition; a name may hold `=` itself, so the longest that fits is meant."""
    if asked in (known := set(names)):
        return asked, None
    places = [place for place, letter in enumerate(asked) if letter == "=" and asked[:place] in known]
    return (asked[: places[-1]], asked[places[-1] + 1 :]) if places else (asked.partition("=")[0], None)


def _by_value(bound: BoundContract, name: str, divided: ibis.Value, column: str | None) -> Iterator[_Part]:
    counted = bound.table.group_by(divided.name("value")).aggregate(rows=bound.table.count())
    found = fetch(bound.opened, counted.order_by([counted["rows"].desc(), counted["value"]]).limit(_MAX_SLICES + 1))
    if len(found) > _MAX_SLICES:
        raise PreconditionError(f"more than {_MAX_SLICES} values; name a value or a range")
    for number, part in enumerate(found, 1):
        value = part["value"]
        shown = _label(bound, column, value)
        label = f"{name}, part {number}" if shown is None else f"{name}={shown}"
        yield _Part(label, int(part["rows"]), divided.isnull() if value is None else divided == value)


def _holds(value: ibis.Value, condition: str, dtype: pl.DataType) -> ibis.BooleanValue:
    import polars as pl

    low, between, high = condition.partition("..")
    try:
        if not condition:
            return value.isnull()
        if not between or dtype in (pl.String, pl.Categorical, pl.Enum):
            return value == literal(_figure(condition, dtype), dtype)
        ends = [value >= literal(_figure(low, dtype), dtype)] if low else []
        ends += [value < literal(_figure(high, dtype), dtype)] if high else []
    except (ValueError, UnsupportedRule):
        raise PreconditionError(f"expected a value of type {dtype}, or a range LOW..HIGH of such") from None
    if not ends:
        raise PreconditionError("a range has at least one end")
    holds = ends[0] if len(ends) == 1 else ends[0] & ends[1]
    # NaN is the greatest number of both engines, and lies in no range.
    return holds & ~value.isnan() if dtype.is_float() else holds


def _figure(text: str, dtype: pl.DataType) -> Any:
    """Read a value as a file of text holds it.

    Raises:
        ValueError: It is none of this type.
    """
    import polars as pl

    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return text
    if dtype.is_integer() and _INTEGER.fullmatch(text):
        return int(text)
    if dtype.is_float() and _NUMBER.fullmatch(text):
        return float(text)
    if dtype == pl.Boolean and text in ("true", "false"):
        return text == "true"
    if dtype == pl.Date:
        return date.fromisoformat(text)
    if isinstance(dtype, pl.Datetime):
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo is not None else moment
    raise ValueError


def _columns(bound: BoundContract) -> dict[str, ibis.Value]:
    return {name: bound.table[bound.keys.get(name, name)] for name in bound.names}


def _label(bound: BoundContract, column: str | None, value: Any) -> str | None:
    """Name a slice by its value only where that tells nothing of the data: the contract has it, or it is a boolean."""
    if value is None:
        return "missing"
    if isinstance(value, bool):
        return str(value).lower()
    domains = [
        rule.parameters["allowed_values"] for rule in bound.rules if (rule.kind, rule.column) == ("isin", column)
    ]
    return repr(value) if any(value in values for values in domains) else None
