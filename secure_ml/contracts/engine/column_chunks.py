"""Tables of very many columns, some columns at a time.

What an engine holds for each column of a query and the time it takes to plan one grow faster than the columns do: one
query over 2,000 columns of text takes 15 s and a gigabyte, eight over 256 take 3 s and a tenth of that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from secure_ml.contracts.engine.binding import Bound, computed
from secure_ml.contracts.rules import Rule
from secure_ml.tables.queries import COLUMNS_AT_ONCE

__all__ = ["narrowed", "pieces"]


def pieces(bound: Bound) -> Iterator[Bound]:
    """Split a contract over very many columns: planning a query, and what it holds, grow faster than its columns do.

    Yields:
        The whole where there are few columns, else some columns at a time; each rule is in one of them.
    """
    if len(bound.cells) <= COLUMNS_AT_ONCE:
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
    for start in range(0, len(own), COLUMNS_AT_ONCE):
        names = list(own)[start : start + COLUMNS_AT_ONCE]
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


def narrowed(bound: Bound, names: Sequence[str], rules: Sequence[Rule] = ()) -> Bound:
    """Return a contract over some columns of its table alone."""
    read = {name: bound.read[name] for name in names}
    table, cells, keys = computed(bound.source, read, bound.free, names)
    return replace(bound, table=table, cells=cells, keys=keys, rules=tuple(rules), names=tuple(names))
