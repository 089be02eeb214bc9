"""The rows that broke a blocking rule, for the quarantine: one filtered scan, at most 1,000 rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from secure_ml.contracts.engine.row_rules import count_where
from secure_ml.contracts.findings import MAX_FAILING_ROWS, MAX_FIRST_ROWS
from secure_ml.tables.engine_functions import engine_aggregate
from secure_ml.tables.queries import fetch
from secure_ml.tables.text_files import MAX_NAME

if TYPE_CHECKING:
    import polars as pl

    from secure_ml.contracts.engine.binding import BoundContract
    from secure_ml.contracts.engine.pandera_fallback import FallbackResult
    from secure_ml.contracts.engine.uniqueness import Repeated

__all__ = ["failing_rows", "first_repeated", "first_rows", "has_order"]

_MAX_CELL = 1000


def failing_rows(
    bound: BoundContract,
    reasons: Sequence[tuple[BoundContract, Sequence[tuple[str, Any]]]],
    repeated: Sequence[Repeated],
    judged: Sequence[FallbackResult],
) -> pl.DataFrame:
    """Fetch the first rows that broke a blocking rule.

    Args:
        bound: The contract over the table.
        reasons: For some columns at a time, what to say, and the ibis boolean that a row fails.
        repeated: What rules of uniqueness found.
        judged: What pandera found.

    Returns:
        Row number counted from 1, reasons, and each cell as text, its first 1,000 characters, in the order of the rows;
        fewer than 1,000 rows where there are more than 1,000 columns.
    """
    import ibis
    import polars as pl

    row, most = f"{bound.temp_prefix}row", _most_rows(bound)
    cells: dict[int, dict[str, Any]] = {}
    why: dict[int, list[str]] = {}
    by_pandera = {reason: indices[:most] for item in judged for reason, indices in item.failing}
    for piece, named in reasons:
        if named:
            flags = {f"{bound.temp_prefix}f{index}": fails for index, (_, fails) in enumerate(named)}
            numbered = piece.table.mutate(**{row: ibis.row_number()}, **flags)
            failing = numbered.filter(ibis.or_(*(numbered[flag] for flag in flags)))
            failing = failing.limit(most) if has_order(bound) else failing  # the scan ends with the last of them
            for found in _fetch(bound, failing, row, list(flags), most, cells=piece is bound):
                cells[int(found[row])] = found
                said = [said for flag, (said, _) in zip(flags, named, strict=True) if found[flag]]
                why.setdefault(int(found[row]), []).extend(said)
    for reason, indices in by_pandera.items():
        for index in indices:
            why.setdefault(index, []).append(reason)
    for item in repeated:
        for found in _fetch(bound, _repeated(item), row, [], most, cells=item.piece is bound):
            cells.setdefault(int(found[row]), found)
            why.setdefault(int(found[row]), []).append(item.reason)
    picked = sorted(why)[:most]
    names = _cell_names(bound)
    rest = [index for index in picked if any(name not in cells.get(index, ()) for name, _ in names)]
    if rest:
        numbered = bound.opened.table.mutate(**{row: ibis.row_number()})
        for found in _fetch(bound, numbered.filter(numbered[row].isin(rest)), row, [], most, cells=True):
            cells[int(found[row])] = found
    return pl.DataFrame(
        [
            pl.Series("row", [index + 1 for index in picked], dtype=pl.Int64),
            pl.Series("reasons", ["; ".join(why[index]) for index in picked], dtype=pl.String),
            *(pl.Series(shown, [cells[index][name] for index in picked], dtype=pl.String) for name, shown in names),
        ]
    )


def _most_rows(bound: BoundContract) -> int:
    return min(MAX_FAILING_ROWS, bound.opened.limits.failing_cells // max(len(bound.dtypes), 1))


def has_order(bound: BoundContract) -> bool:
    """Whether the engine numbers rows as they stand in the file."""
    return bound.opened.on_duckdb


def first_rows(piece: BoundContract, fails: Sequence[Any], *, ordered: bool) -> list[tuple[int, tuple[int, ...]]]:
    """Return for each ibis boolean how many rows it is true in, and the numbers of the first of them, from 1."""
    import ibis

    if not fails:
        return []
    row, flags = f"{piece.temp_prefix}row", {f"{piece.temp_prefix}f{index}": given for index, given in enumerate(fails)}
    table = piece.table.mutate(**flags, **({row: ibis.row_number()} if ordered else {}))
    measures = {f"n{index}": count_where(table[flag]) for index, flag in enumerate(flags)}
    if ordered:
        measures |= {f"r{index}": _least(table[row], table[flag]) for index, flag in enumerate(flags)}
    (found,) = fetch(piece.opened, table.aggregate(**measures))
    return [(int(found[f"n{index}"]), _numbers(found.get(f"r{index}"))) for index in range(len(flags))]


def first_repeated(item: Repeated) -> tuple[int, ...]:
    """Return the numbers of the first rows that break a rule of uniqueness, from 1."""
    table = _repeated(item)
    (found,) = fetch(item.piece.opened, table.aggregate(r=_least(table[f"{item.piece.temp_prefix}row"], None)))
    return _numbers(found["r"])


def _least(row: Any, where: Any) -> Any:
    import ibis

    first = engine_aggregate("min", "int64", "array<int64>", "int32")
    return first(row, ibis.literal(MAX_FIRST_ROWS, "int32"), where=where)


def _numbers(found: Any) -> tuple[int, ...]:
    return tuple(int(index) + 1 for index in found or ())


def _cell_names(bound: BoundContract) -> list[tuple[str, str]]:
    named: list[tuple[str, str]] = []
    taken: set[str] = set()
    for index, name in enumerate(bound.dtypes):
        shown = f"cell_{name[:MAX_NAME]}"
        shown = f"{shown}_{index}" if shown in taken else shown
        taken.add(shown)
        named.append((name, shown))
    return named


def _fetch(
    bound: BoundContract, table: Any, row: str, flags: list[str], most: int, *, cells: bool
) -> list[dict[str, Any]]:
    """Fetch the first rows of a table: number and flags, and the cells where it has all columns."""
    import ibis

    shown = {  # cut before the rows are put in order: what is kept in memory is small
        name: ibis.null("string") if dtype.is_nested() else table[name].cast("string").left(_MAX_CELL)
        for name, dtype in (bound.dtypes if cells else {}).items()
    }
    return fetch(bound.opened, table.select(row, *flags, **shown).order_by(row).limit(most))


def _repeated(item: Repeated) -> Any:
    """Return the rows of the keys that are repeated, numbered from 0."""
    import ibis

    bound = item.piece
    row, keys = (
        f"{bound.temp_prefix}row",
        {f"{bound.temp_prefix}k{index}": name for index, name in enumerate(item.keys)},
    )
    numbered = bound.table.mutate(**{row: ibis.row_number()})
    groups = item.groups.select(**{key: item.groups[name] for key, name in keys.items()})
    given = numbered.semi_join(groups, [numbered[name].identical_to(groups[key]) for key, name in keys.items()])
    if not item.spare_first:
        return given
    again = f"{bound.temp_prefix}again"
    given = given.mutate(**{again: ibis.row_number().over(group_by=list(item.keys), order_by=row)})
    return given.filter(given[again] > 0)
