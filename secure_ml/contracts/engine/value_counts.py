"""Text columns with few different values: the values are counted, and rules are held against the values.

DuckDB's `histogram` over such columns alone costs a tenth of one rule on every row; beside other figures in one query
it costs as much as the rule, so it is a narrow pass of its own. The values and their counts become a small table of
the same engine, and the same compiled expressions are evaluated on it, so the verdict cannot be another one. A look at
the first rows tells which columns these are; where it misleads and the pass runs out of memory, there are none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from secure_ml.contracts.engine.binding import BoundContract
from secure_ml.contracts.engine.column_rules import aggregate
from secure_ml.contracts.engine.row_rules import failing_parts
from secure_ml.contracts.rules import Rule
from secure_ml.errors import MalformedError
from secure_ml.tables.data_files import table_of
from secure_ml.tables.engine_functions import engine_aggregate
from secure_ml.tables.queries import fetch

__all__ = ["BY_VALUE", "count_few_values", "figures_by_value"]

BY_VALUE = frozenset(
    {"isin", "notin", "str_matches", "str_contains", "str_startswith", "str_endswith", "str_length", "unique_values_eq"}
)
"""The kinds of rules that depend on a cell's text alone."""
_LOOKED_AT = 50_000


def count_few_values(
    bound: BoundContract, rules: Sequence[Rule], rows: int | None = None
) -> dict[str, dict[str | None, int]]:
    """Count the values of the text columns, of those that `rules` are about, that hold few different ones.

    Returns:
        Column to value to how often it occurs; None is a missing cell. Empty where there is no such column, the table
        is small, or the engine is another one.
    """
    import polars as pl

    if not bound.opened.on_duckdb or (rows is not None and rows < _LOOKED_AT):
        return {}
    about = dict.fromkeys(str(rule.column) for rule in rules if rule.kind in BY_VALUE and rule.column in bound.cells)
    names = [name for name in about if (cell := bound.cells[name]).dtype == pl.String and cell.unparsable is None]
    if not names:
        return {}
    first = bound.table.select(**{f"v{i}": bound.cells[name].value for i, name in enumerate(names)}).limit(_LOOKED_AT)
    different = {f"n{index}": first[f"v{index}"].approx_nunique() for index in range(len(names))}
    (found,) = fetch(bound.opened, first.aggregate(rows=first.count(), **different))
    if found["rows"] < _LOOKED_AT:
        return {}  # a second query would cost more than it saves
    few = [name for index, name in enumerate(names) if found[f"n{index}"] <= bound.opened.limits.distinct_values]
    if not few:
        return {}
    measures = {"rows": bound.table.count()}
    histogram = engine_aggregate("histogram", "string", "map<string, int64>")
    measures |= {f"h{index}": histogram(bound.cells[name].value) for index, name in enumerate(few)}
    try:
        (values,) = fetch(bound.opened, bound.table.aggregate(**measures))
    except MalformedError:
        return {}  # the one pass says it again, where it is not the values that are too many
    counted: dict[str, dict[str | None, int]] = {}
    for index, name in enumerate(few):
        known: dict[str | None, int] = dict(values[f"h{index}"] or ())
        counted[name] = {**known, None: int(values["rows"]) - sum(known.values())}
    return counted


def figures_by_value(
    bound: BoundContract, column: str, counts: Mapping[str | None, int], rules: Mapping[str, Rule]
) -> dict[str, Any]:
    """Evaluate rules over the values of one column.

    Args:
        bound: The contract over the table.
        column: Its name.
        counts: Value to how often it occurs.
        rules: Name to rule.

    Returns:
        Name to the number of failing rows; for a rule about the whole column, `<name>_<measure>` to its figures.
    """
    import polars as pl

    opened = table_of(pl.DataFrame({"value": pl.Series(list(counts), dtype=pl.String), "times": list(counts.values())}))
    small = opened.table
    cell = replace(bound.cells[column], value=small["value"], missing=small["value"].isnull())
    over = replace(bound, table=small, opened=opened, cells={column: cell})
    measures: dict[str, Any] = {}
    for name, rule in rules.items():
        if (made := aggregate(rule, over)) is not None:
            measures |= {f"{name}_{key}": measure for key, measure in made.measures.items()}
        else:
            (part,) = failing_parts(rule, cell)
            measures[name] = small["times"].sum(where=part.fails).fill_null(0)
    (found,) = fetch(opened, small.aggregate(**measures))
    return found
