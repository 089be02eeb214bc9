"""Values and rows that may stand once: a pass for each rule, and a second only where something is repeated.

pandera counts every row of a repeated value, the first included, and takes missing cells for equal; the rule
`no_duplicate_rows` counts the repetitions without the first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from secure_ml.contracts.queries import fetch
from secure_ml.contracts.rules import Rule

if TYPE_CHECKING:
    from secure_ml.contracts.binding import Bound

__all__ = ["UNIQUENESS", "Repeated", "repeated_rows"]

UNIQUENESS = frozenset({"field_uniqueness", "multiple_fields_uniqueness", "no_duplicate_rows"})
_MAX_GROUPS = 1000


@dataclass(frozen=True, slots=True)
class Repeated:
    """What one rule of uniqueness found.

    Attributes:
        said: What to say, after "n of m rows".
        count: Rows that fail.
        reason: Why a row fails, for the quarantine.
        keys: Columns of the key in the bound table.
        groups: An ibis table of at most 1,000 keys that are repeated; None where none is.
        spare_first: Whether the first row of a key does not fail.
    """

    said: str
    count: int
    reason: str
    keys: tuple[str, ...] = ()
    groups: Any = None
    spare_first: bool = False


def repeated_rows(rule: Rule, bound: Bound, rows: int) -> Repeated:
    """Count the rows that break a rule of uniqueness."""
    keys = _keys(rule, bound)
    said = {
        "field_uniqueness": "not unique",
        "multiple_fields_uniqueness": f"not unique in {', '.join(rule.parameters.get('columns', ()))}",
    }.get(rule.kind, rule.description or "duplicated")
    reason = f"{rule.column}: {said}" if rule.column is not None else said
    if not keys or rows < 2:
        return Repeated(said, 0, reason)
    table = bound.table
    if len(keys) == 1:
        (found,) = fetch(
            table.aggregate(distinct=table[keys[0]].nunique(), nulls=table.count(where=table[keys[0]].isnull()))
        )
        distinct = int(found["distinct"]) + (1 if found["nulls"] else 0)
    else:
        (found,) = fetch(table.select(*keys).distinct().aggregate(distinct=lambda given: given.count()))
        distinct = int(found["distinct"])
    if distinct == rows:
        return Repeated(said, 0, reason)
    grouped = table.group_by(*keys).aggregate(n_of_key=table.count())
    grouped = grouped.filter(grouped.n_of_key > 1)
    if rule.kind == "no_duplicate_rows":
        return Repeated(said, rows - distinct, reason, keys, grouped.limit(_MAX_GROUPS), spare_first=True)
    (found,) = fetch(grouped.aggregate(rows=grouped.n_of_key.sum()))
    return Repeated(said, int(found["rows"]), reason, keys, grouped.limit(_MAX_GROUPS))


def _keys(rule: Rule, bound: Bound) -> tuple[str, ...]:
    if rule.kind == "no_duplicate_rows":
        return tuple(bound.keys[name] for name in bound.names)
    names = [rule.column] if rule.column is not None else list(rule.parameters["columns"])
    return tuple(bound.keys[name] for name in names if name in bound.names)
