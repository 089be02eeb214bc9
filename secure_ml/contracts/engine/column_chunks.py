"""Tables of very many columns, some columns at a time.

What an engine holds for each column of a query and the time it takes to plan one grow faster than the columns do: one
query over 2,000 columns of text takes 15 s and a gigabyte, eight over 256 take 3 s and a tenth of that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from secure_ml.contracts.engine.binding import BoundContract, computed
from secure_ml.contracts.rules import Rule

__all__ = ["narrowed", "pieces"]


def pieces(bound: BoundContract) -> Iterator[BoundContract]:
    """Split a contract over very many columns: planning a query, and what it holds, grow faster than its columns do.

    Yields:
        The whole where there are few columns, else some columns at a time; each rule is in one of them.
    """
    at_once = bound.opened.limits.columns_at_once
    if len(bound.cells) <= at_once:
        yield bound
        return
    own: dict[str, list[Rule]] = {name: [] for name in bound.cells}
    across: dict[str, None] = {}
    told: list[Rule] = []
    others: list[Rule] = []
    for rule in bound.rules:
        if rule.column is not None:
            own[rule.column].append(rule)
        elif (about := _about(rule)) is not None and set(about) <= own.keys():
            told.append(rule)
            across |= dict.fromkeys(about)
        else:
            others.append(rule)
    for start in range(0, len(own), at_once):
        names = list(own)[start : start + at_once]
        yield narrowed(bound, names, [rule for name in names for rule in own[name]])
    if told:
        yield narrowed(bound, list(across) or list(own)[:1], told)
    if others:
        yield replace(bound, rules=tuple(others))


def _about(rule: Rule) -> Collection[str] | None:
    """Return the columns that a rule of the table is about, None where it may be all."""
    match rule.kind:
        case _ if rule.why is not None:
            return None
        case "row_count_between":
            return ()
        case "columns_compare":
            return rule.parameters["left"], rule.parameters["right"]
        case "multiple_fields_uniqueness":
            return tuple(rule.parameters["columns"])
    return None


def narrowed(bound: BoundContract, names: Sequence[str], rules: Sequence[Rule] = ()) -> BoundContract:
    """Return a contract over some columns of its table alone."""
    read = {name: bound.source_cells[name] for name in names}
    table, cells, keys = computed(bound.opened.table, read, bound.temp_prefix, names)
    return replace(bound, table=table, cells=cells, keys=keys, rules=tuple(rules), names=tuple(names))
