"""The one aggregate over a table: what it counts, and of what failed, how and in which rows first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from secure_ml.contracts.engine.binding import BoundContract
from secure_ml.contracts.engine.column_rules import Aggregate, aggregate
from secure_ml.contracts.engine.failing_rows import first_rows
from secure_ml.contracts.engine.row_rules import (
    FailureMode,
    UnsupportedRule,
    compare_columns,
    count_where,
    failing_parts,
    passes,
)
from secure_ml.contracts.engine.uniqueness import UNIQUENESS, comparable
from secure_ml.contracts.engine.value_counts import BY_VALUE, count_few_values, figures_by_value
from secure_ml.contracts.rules import Rule
from secure_ml.tables.queries import fetch

__all__ = ["Counted", "PassResult", "run_pass"]


@dataclass(frozen=True, slots=True)
class Counted:
    """A compiled rule of each row.

    Attributes:
        rule: The rule.
        parts: The ways in which rows fail it.
    """

    rule: Rule
    parts: tuple[FailureMode, ...]


@dataclass(frozen=True, slots=True)
class PassResult:
    """What one pass over some columns of a table found.

    Attributes:
        piece: The contract over these columns.
        counted: Rules of each row.
        aggregates: Rules of a whole column or table.
        unique: Rules of uniqueness, which take passes of their own.
        fallbacks: Rules that do not compile, and why.
        values: `c<index>` of the rules of each row, `a<index>_<name>` of the aggregates, and `rows`.
    """

    piece: BoundContract
    counted: tuple[Counted, ...]
    aggregates: tuple[Aggregate, ...]
    unique: tuple[Rule, ...]
    fallbacks: tuple[tuple[Rule, str], ...]
    values: Mapping[str, Any]

    @property
    def failed(self) -> list[Counted]:
        """The rules of each row that rows fail."""
        return [item for index, item in enumerate(self.counted) if self.values[f"c{index}"]]

    def aggregates_failed(self, rows: int) -> Iterator[tuple[Aggregate, int]]:
        """Yield each rule of a whole column that failed, and how many rows to name."""
        for index, made in enumerate(self.aggregates):
            bad = made.failed({name: self.values[f"a{index}_{name}"] for name in made.measures}, rows)
            if bad is not None:
                yield made, bad

    def parts_failed(self, *, ordered: bool) -> Iterator[tuple[Rule, FailureMode, int, tuple[int, ...]]]:
        """Yield each way in which rows failed a rule, how many did, and the first of them where they have an order."""
        given = [(item.rule, part) for item in self.failed for part in item.parts]
        found = first_rows(self.piece, [part.fails for _, part in given], ordered=ordered)
        for (rule, part), (count, first) in zip(given, found, strict=True):
            if count:
                yield rule, part, count, first


def run_pass(piece: BoundContract, rows: int | None, *, by_value: bool) -> PassResult:
    """Compile the rules of some columns and run them, all but uniqueness, as one aggregate.

    Args:
        piece: The contract over these columns.
        rows: Of the table, None where it is yet to be told.
        by_value: Whether text columns with few different values may take a narrow pass, see `few_values`.
    """
    counted: list[Counted] = []
    aggregates: list[Aggregate] = []
    unique: list[Rule] = []
    fallbacks = [(rule, rule.why or "") for rule in piece.rules if rule.why is not None]
    for rule in piece.rules:
        if rule.why is not None:
            continue
        try:
            if rule.kind in UNIQUENESS:
                unique.append(comparable(rule, piece))
            elif (made := aggregate(rule, piece)) is not None:
                aggregates.append(made)
            else:
                counted.append(Counted(rule, _parts(rule, piece)))
        except UnsupportedRule as error:
            fallbacks.append((rule, str(error)))
    all_rules = [*(item.rule for item in counted), *(made.rule for made in aggregates)]
    few = count_few_values(piece, all_rules, rows) if by_value else {}
    values = _values(piece, counted, aggregates, few)
    return PassResult(piece, tuple(counted), tuple(aggregates), tuple(unique), tuple(fallbacks), values)


def _values(
    bound: BoundContract,
    counted: list[Counted],
    aggregates: list[Aggregate],
    few: Mapping[str, Mapping[str | None, int]],
) -> dict[str, Any]:
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
    (values,) = fetch(bound.opened, bound.table.aggregate(**measures))
    for name, rules in by_value.items():
        values |= figures_by_value(bound, name, few[name], rules)
    return values


def _failed_rows(item: Counted, bound: BoundContract) -> Any:
    """Return the ibis count of the rows that fail a rule in any way."""
    first, *more = item.parts
    if first.present is not None:
        return bound.table.count() - first.present
    if more and item.rule.column is not None:
        return count_where(~passes(item.rule, bound.cells[item.rule.column]))
    return count_where(first.fails)


def _parts(rule: Rule, bound: BoundContract) -> tuple[FailureMode, ...]:
    if rule.kind == "columns_compare":
        left, right = rule.parameters["left"], rule.parameters["right"]
        if left not in bound.cells or right not in bound.cells:
            raise UnsupportedRule("a column that it compares is not declared or not there")
        return (compare_columns(rule, bound.cells[left], bound.cells[right]),)
    if rule.column is None:
        raise UnsupportedRule("it is not a rule of one column")
    return failing_parts(rule, bound.cells[rule.column])
