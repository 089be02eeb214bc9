"""A table of any engine against a contract, in one pass: all compiled rules are one aggregate, run once.

1. Bind the contract to the table: shape and types need no scan.
2. One aggregate counts the rows that fail each rule, and takes the figures of the rules about a whole column.
   Text columns with few different values take a narrow pass of their own, see `few_values`.
3. Uniqueness takes a pass for each rule of its own.
4. What cannot be compiled is run by pandera on Polars, over the columns that it needs; the report says which and why.
5. Only where a rule failed, a second scan says how and in which rows first, a third fetches at most 1,000 of them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from secure_ml.contracts.engine.aggregate_pass import PassResult, run_pass
from secure_ml.contracts.engine.binding import BoundContract, bind
from secure_ml.contracts.engine.column_chunks import pieces
from secure_ml.contracts.engine.failing_rows import failing_rows, first_repeated, has_order
from secure_ml.contracts.engine.pandera_fallback import FallbackResult, judge_check, judge_column
from secure_ml.contracts.engine.uniqueness import repeated_rows
from secure_ml.contracts.findings import Fallback, Finding, Report, in_order, prefix
from secure_ml.contracts.rules import Rule, Rules
from secure_ml.tables.opened_table import OpenedTable

__all__ = ["run_rules"]


def run_rules(
    opened: OpenedTable, rules: Rules, *, environment: str | None = None, is_slice: bool = False
) -> tuple[Report, BoundContract]:
    """Validate a table against a compiled contract; see `contracts.validate`.

    Args:
        opened: The table.
        rules: The contract.
        environment: Where the table comes from.
        is_slice: Whether the table is some rows of a file, so that its rows have no numbers.

    Returns:
        The report, and the contract bound to the table.
    """
    # 1. Shape and types.
    bound = bind(opened, rules, environment=environment)
    # 2. One aggregate; several where the table has very many columns.
    first, *more = pieces(bound)
    passed = [run_pass(first, None, by_value=not is_slice)]
    rows = int(passed[0].values["rows"])
    passed += [run_pass(piece, rows, by_value=not is_slice) for piece in more]
    findings = [replace(finding, failed=rows, rows=rows) for finding in bound.shape]
    findings += [
        _finding(made.rule, made.said, bad, rows) for one in passed for made, bad in one.aggregates_failed(rows)
    ]
    # 3. Uniqueness.
    repeated = [(rule, repeated_rows(rule, one.piece, rows)) for one in passed for rule in one.unique]
    repeated = [(rule, found) for rule, found in repeated if found.count]
    # 4. What cannot be compiled.
    untyped = {finding.column for finding in bound.shape if (finding.code, finding.tier) == ("wrong_type", "block")}
    fallbacks = [(one.piece, rule, why) for one in passed for rule, why in one.fallbacks]
    judged: list[FallbackResult] = [
        judge_check(piece, rule, rows, pandas=rules.pandas, typed=untyped.isdisjoint(_about(rule)))
        for piece, rule, _ in fallbacks
    ]
    judged += [judge_column(bound, rules, name, rows) for name in bound.pandera_columns]
    # 5. How rows failed, and which.
    ordered = not is_slice and has_order(bound)
    found_by_pandera = [finding for item in judged for finding in item.findings]
    findings += found_by_pandera if ordered else [replace(finding, first_rows=()) for finding in found_by_pandera]
    findings += [
        _finding(rule, part.said, count, rows, first)
        for one in passed
        for rule, part, count, first in one.parts_failed(ordered=ordered)
    ]
    findings += [
        _finding(rule, found.said, found.count, rows, first_repeated(found) if ordered else ())
        for rule, found in repeated
    ]
    rows_found = failing_rows(
        bound,
        [(one.piece, _reasons(one)) for one in passed],
        [found for rule, found in repeated if rule.tier == "block"],
        judged,
    )
    named = [Fallback(rule.column, rule.name, why) for _, rule, why in fallbacks]
    named += [Fallback(name, "all rules of the column", why) for name, why in bound.pandera_columns.items()]
    failed = {(finding.column, finding.rule) for finding in findings}
    run = ((rule.column, rule.name) for rule in bound.rules if untyped.isdisjoint(_about(rule)))
    satisfied = tuple(rule for rule in dict.fromkeys(run) if rule not in failed)
    return Report(rows, in_order(findings), None, rows_found, tuple(named), passed=satisfied), bound


def _reasons(one: PassResult) -> list[tuple[str, Any]]:
    blocking = [item for item in one.failed if item.rule.tier == "block"]
    return [(f"{prefix(item.rule.column)}{part.said}", part.fails) for item in blocking for part in item.parts]


def _about(rule: Rule) -> set[str | None]:
    return {rule.column, *(rule.parameters[side] for side in ("left", "right") if rule.kind == "columns_compare")}


def _finding(rule: Rule, said: str, failed: int, rows: int, first: tuple[int, ...] = ()) -> Finding:
    sentence = f"{prefix(rule.column)}{failed} of {rows} rows {said}"
    if rule.kind == "row_count_between":
        sentence = f"{rows} rows, expected {rule.parameters['low']} to {rule.parameters['high']}"
    return Finding(rule.column, rule.name, failed, rows, rule.tier, sentence, rule.code, "compiled", first)
