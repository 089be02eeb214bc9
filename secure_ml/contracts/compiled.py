"""A table of any engine against a contract, in one pass: all compiled rules are one aggregate, run once.

1. Bind the contract to the table: shape and types need no scan.
2. One aggregate counts the rows that fail each rule, and takes the figures of the rules about a whole column.
   Text columns with few different values take a narrow pass of their own, see `few_values`.
3. Uniqueness takes a pass for each rule of its own.
4. What cannot be compiled is run by pandera on Polars, over the columns that it needs; the report says which and why.
5. Only where a rule failed, a second scan says how, and fetches at most 1,000 failing rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from secure_ml.contracts.aggregates import Aggregate, aggregate
from secure_ml.contracts.binding import Bound, bind
from secure_ml.contracts.expressions import Part, Unportable, compare_columns, count_where, failing_parts, passes
from secure_ml.contracts.failing import failing_rows
from secure_ml.contracts.falling_back import Judged, judge_check, judge_column
from secure_ml.contracts.few_values import BY_VALUE, count_few_values, figures_by_value
from secure_ml.contracts.findings import Fallback, Finding, Report
from secure_ml.contracts.loading import Contract
from secure_ml.contracts.queries import fetch
from secure_ml.contracts.rules import Rule, Rules, compile_rules
from secure_ml.contracts.tables import dtypes_of, is_text
from secure_ml.contracts.uniqueness import UNIQUENESS, comparable, repeated_rows

if TYPE_CHECKING:
    import ibis

__all__ = ["check_table", "run_rules"]


@dataclass(frozen=True, slots=True)
class _Counted:
    """A compiled rule of each row: its parts, each with the ibis boolean that a row fails it."""

    rule: Rule
    parts: tuple[Part, ...]


def check_table(table: ibis.Table, contract: Any, *, environment: str | None = None) -> Report:
    """Hold a table against a contract; bad data gives findings, never an exception.

    Args:
        table: From `open_table`, or of any ibis engine.
        contract: A `Contract`, or a pandera schema for Polars or pandas.
        environment: Where the table comes from, such as `training` or `serving`; None leaves environments out.

    Returns:
        No frame: the table may be larger than memory.

    Raises:
        MalformedError: The file behind the table cannot be read to its end.
        PreconditionError: The contract itself is wrong.
    """
    rules = compile_rules(contract.schema if isinstance(contract, Contract) else contract)
    report, bound = run_rules(table, rules, environment=environment)
    if not rules.slices:
        return report
    from secure_ml.contracts.slicing import with_slices

    return with_slices(report, bound, table, rules, environment=environment)


def run_rules(
    table: ibis.Table, rules: Rules, *, environment: str | None = None, part_of: ibis.Table | None = None
) -> tuple[Report, Bound]:
    """Hold a table against a compiled contract; see `check_table`. A filtered one is `part_of` the one it came from."""
    # 1. Shape and types.
    opened = table if part_of is None else part_of
    bound = bind(table, dtypes_of(opened), rules, text=is_text(opened), environment=environment)
    counted: list[_Counted] = []
    aggregates: list[Aggregate] = []
    unique: list[Rule] = []
    fallbacks = [(rule, rule.why or "") for rule in bound.rules if rule.why is not None]
    for rule in bound.rules:
        if rule.why is not None:
            continue
        try:
            if rule.kind in UNIQUENESS:
                unique.append(comparable(rule, bound))
            elif (made := aggregate(rule, bound)) is not None:
                aggregates.append(made)
            else:
                counted.append(_Counted(rule, _parts(rule, bound)))
        except Unportable as error:
            fallbacks.append((rule, str(error)))
    # 2. One aggregate.
    all_rules = [*(item.rule for item in counted), *(made.rule for made in aggregates)]
    few = count_few_values(bound, all_rules) if part_of is None else {}
    values = _one_pass(bound, counted, aggregates, few)
    rows = int(values["rows"])
    failed = [item for index, item in enumerate(counted) if values[f"c{index}"]]
    findings = [replace(finding, failed=rows, rows=rows) for finding in bound.shape]
    for index, made in enumerate(aggregates):
        figures = {name: values[f"a{index}_{name}"] for name in made.measures}
        bad = made.failed(figures, rows)
        if bad is not None:
            findings.append(_finding(made.rule, made.said, bad, rows))
    # 3. Uniqueness.
    repeated = [(rule, repeated_rows(rule, bound, rows)) for rule in unique]
    repeated = [(rule, found) for rule, found in repeated if found.count]
    findings += [_finding(rule, found.said, found.count, rows) for rule, found in repeated]
    # 4. What cannot be compiled.
    judged: list[Judged] = [judge_check(bound, rule, rows, pandas=rules.pandas) for rule, _ in fallbacks]
    judged += [judge_column(bound, rules, name, rows) for name in bound.whole]
    findings += [finding for item in judged for finding in item.findings]
    # 5. How rows failed, and which.
    findings += _count_parts(bound, values, counted, rows)
    blocking = [item for item in failed if item.rule.tier == "block"]
    rows_found = failing_rows(
        bound,
        [(f"{_where(item.rule)}{part.said}", part.fails) for item in blocking for part in item.parts],
        [found for rule, found in repeated if rule.tier == "block"],
        judged,
    )
    findings.sort(key=lambda finding: (finding.tier != "block", -finding.failed))
    named = [Fallback(rule.column, rule.name, why) for rule, why in fallbacks]
    named += [Fallback(name, "all rules of the column", why) for name, why in bound.whole.items()]
    return Report(rows, tuple(findings), None, rows_found, tuple(named)), bound


def _one_pass(
    bound: Bound, counted: list[_Counted], aggregates: list[Aggregate], few: Mapping[str, Mapping[str | None, int]]
) -> dict[str, Any]:
    """Take all counts and figures: `c<index>` of the rules of each row, `a<index>_<name>` of the others."""
    by_value: dict[str, dict[str, Rule]] = {name: {} for name in few}
    measures = {"rows": bound.table.count()}
    for index, item in enumerate(counted):
        if item.rule.kind in BY_VALUE and item.rule.column in by_value:
            by_value[item.rule.column][f"c{index}"] = item.rule
        else:
            measures[f"c{index}"] = _failed_rows(item, bound)
    for index, made in enumerate(aggregates):
        if made.rule.kind in BY_VALUE and made.rule.column in by_value:
            by_value[made.rule.column][f"a{index}"] = made.rule
        else:
            measures |= {f"a{index}_{name}": value for name, value in made.measures.items()}
    (values,) = fetch(bound.table.aggregate(**measures))
    for name, rules in by_value.items():
        values |= figures_by_value(bound, name, few[name], rules)
    return values


def _failed_rows(item: _Counted, bound: Bound) -> Any:
    """Return the ibis count of the rows that fail a rule in any way."""
    first, *more = item.parts
    if first.present is not None:
        return bound.table.count() - first.present
    if more and item.rule.column is not None:
        return count_where(~passes(item.rule, bound.cells[item.rule.column]))
    return count_where(first.fails)


def _parts(rule: Rule, bound: Bound) -> tuple[Part, ...]:
    if rule.kind == "columns_compare":
        left, right = rule.parameters["left"], rule.parameters["right"]
        if left not in bound.cells or right not in bound.cells:
            raise Unportable("a column that it compares is not declared or not there")
        return (compare_columns(rule, bound.cells[left], bound.cells[right]),)
    if rule.column is None:
        raise Unportable("it is not a rule of one column")
    return failing_parts(rule, bound.cells[rule.column])


def _count_parts(bound: Bound, values: dict[str, Any], counted: list[_Counted], rows: int) -> list[Finding]:
    measures = {
        f"p{index}_{part}": count_where(given.fails)
        for index, item in enumerate(counted)
        if values[f"c{index}"] and len(item.parts) > 1
        for part, given in enumerate(item.parts)
    }
    counts = fetch(bound.table.aggregate(**measures))[0] if measures else {}
    findings: list[Finding] = []
    for index, item in enumerate(counted):
        if not values[f"c{index}"]:
            continue
        if len(item.parts) == 1:
            findings.append(_finding(item.rule, item.parts[0].said, int(values[f"c{index}"]), rows))
            continue
        for part, given in enumerate(item.parts):
            if count := int(counts[f"p{index}_{part}"]):
                findings.append(_finding(item.rule, given.said, count, rows))
    return findings


def _where(rule: Rule) -> str:
    return f"{rule.column}: " if rule.column is not None else ""


def _finding(rule: Rule, said: str, failed: int, rows: int) -> Finding:
    verb = "are " if rule.kind == "type" else ""
    sentence = f"{_where(rule)}{failed} of {rows} rows {verb}{said}"
    return Finding(rule.column, rule.name, failed, rows, rule.tier, sentence, rule.code, "compiled")
