"""Values and rows that may stand once: a pass for each rule, and a second only where something is repeated.

pandera counts every row of a repeated value, the first included, and takes missing cells for equal; the rule
`no_duplicate_rows` counts the repetitions without the first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from secure_ml.contracts.engine.row_rules import UnsupportedRule
from secure_ml.contracts.rules import Rule
from secure_ml.tables.engine_functions import engine_function
from secure_ml.tables.queries import fetch, fetch_array

if TYPE_CHECKING:
    from secure_ml.contracts.engine.binding import BoundContract

__all__ = ["UNIQUENESS", "Repeated", "repeated_rows"]

UNIQUENESS = frozenset({"field_uniqueness", "multiple_fields_uniqueness", "no_duplicate_rows"})
_MAX_GROUPS = 1000


@dataclass(frozen=True, slots=True)
class Repeated:
    """What one rule of uniqueness found.

    Attributes:
        piece: The contract over the table.
        said: What to say, after "n of m rows".
        count: Rows that fail.
        reason: Why a row fails, for the quarantine.
        keys: Columns of the key in the bound table.
        groups: An ibis table of the first 1,000 keys that are repeated; None where none is.
        spare_first: Whether the first row of a key does not fail.
    """

    piece: BoundContract
    said: str
    count: int
    reason: str
    keys: tuple[str, ...] = ()
    groups: Any = None
    spare_first: bool = False


def comparable(rule: Rule, bound: BoundContract) -> Rule:
    """Return the rule.

    Raises:
        UnsupportedRule: If only pandera knows how one of its columns is coerced, and so which cells are equal.
    """
    for name in bound.names if rule.kind == "no_duplicate_rows" else rule.parameters.get("columns", ()):
        if name in bound.pandera_columns:
            raise UnsupportedRule(f"{name} is not compiled: {bound.pandera_columns[name]}")
    return rule


def repeated_rows(rule: Rule, bound: BoundContract, rows: int) -> Repeated:
    """Count the rows that break a rule of uniqueness."""
    keys = _keys(rule, bound)
    said = {
        "field_uniqueness": "not unique",
        "multiple_fields_uniqueness": f"not unique in {', '.join(rule.parameters.get('columns', ()))}",
    }.get(rule.kind, rule.description or "duplicated")
    reason = f"{rule.column}: {said}" if rule.column is not None else said
    if not keys or rows < 2:
        return Repeated(bound, said, 0, reason)
    hashes = _repeated_hashes(bound, keys, rows)
    if hashes is not None and not hashes:
        return Repeated(bound, said, 0, reason)
    times = f"{bound.temp_prefix}times"
    grouped = _of_hashes(bound.table, keys, hashes).group_by(*keys).aggregate(**{times: lambda rows: rows.count()})
    grouped = grouped.filter(grouped[times] > 1)
    (found,) = fetch(bound.opened, grouped.aggregate(rows=grouped[times].sum(), keys=grouped.count()))
    spare_first = rule.kind == "no_duplicate_rows"
    count = int(found["rows"] or 0) - (int(found["keys"]) if spare_first else 0)
    return Repeated(bound, said, count, reason, keys, _first_groups(bound, keys, hashes), spare_first)


def _first_groups(bound: BoundContract, keys: tuple[str, ...], hashes: list[int] | None) -> Any:
    """Return the keys that are repeated, by their first rows, so that the first rows that fail are among theirs."""
    import ibis

    row, times = f"{bound.temp_prefix}row", f"{bound.temp_prefix}times"
    numbered = _of_hashes(bound.table.mutate(**{row: ibis.row_number()}), keys, hashes)
    grouped = numbered.group_by(*keys).aggregate(**{row: numbered[row].min(), times: numbered.count()})
    return grouped.filter(grouped[times] > 1).order_by(row).limit(_MAX_GROUPS)


def _of_hashes(table: Any, keys: tuple[str, ...], hashes: list[int] | None) -> Any:
    import ibis

    if hashes is None:
        return table
    return table.filter(_hash(table, keys).isin([ibis.literal(value, "uint64") for value in hashes]))


def _repeated_hashes(bound: BoundContract, keys: tuple[str, ...], rows: int) -> list[int] | None:
    """Return the hashes of all keys that are repeated, and of few others; None where they are too many to be told.

    Equal keys have equal hashes, so hashes that all differ prove that the keys do. 64 bits of each row are sorted in
    NumPy, in parts of the table that are told by the hash itself: a sixth of what the engine takes to count them.
    """
    import numpy as np

    if not bound.opened.on_duckdb:
        return None
    table, at_once = bound.table, bound.opened.limits.hashes_at_once
    hashed = table.select(hash=_hash(table, keys))
    parts = -(-rows // at_once)
    repeated: list[int] = []
    for part in range(parts):
        some = hashed if parts == 1 else hashed.filter(hashed.hash % parts == part)
        hashes = fetch_array(bound.opened, some.limit(2 * at_once))
        hashes.sort()
        repeated += np.unique(hashes[1:][hashes[1:] == hashes[:-1]])[: _MAX_GROUPS + 1].tolist()
        if len(repeated) > _MAX_GROUPS or len(hashes) == 2 * at_once:  # the latter: one key fills the part
            return None
    return repeated


def _hash(table: Any, keys: tuple[str, ...]) -> Any:
    import ibis

    key = table[keys[0]] if len(keys) == 1 else ibis.struct({name: table[name] for name in keys})
    return engine_function("hash", key.type(), "uint64")(key)


def _keys(rule: Rule, bound: BoundContract) -> tuple[str, ...]:
    if rule.kind == "no_duplicate_rows":
        return tuple(bound.keys[name] for name in bound.names)
    names = [rule.column] if rule.column is not None else list(rule.parameters["columns"])
    return tuple(bound.keys[name] for name in names if name in bound.names)
