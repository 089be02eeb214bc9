"""The rows that broke a blocking rule, for the quarantine: one filtered scan, at most 1,000 rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from secure_ml.contracts.queries import fetch
from secure_ml.contracts.text_files import MAX_NAME

if TYPE_CHECKING:
    import polars as pl

    from secure_ml.contracts.binding import Bound
    from secure_ml.contracts.falling_back import Judged
    from secure_ml.contracts.uniqueness import Repeated

__all__ = ["MAX_FAILING_ROWS", "failing_rows"]

MAX_FAILING_ROWS = 1000
_MAX_CELL = 1000


def failing_rows(
    bound: Bound,
    reasons: Sequence[tuple[str, Any]],
    repeated: Sequence[Repeated],
    judged: Sequence[Judged],
) -> pl.DataFrame:
    """Fetch the first rows that broke a blocking rule.

    Args:
        bound: The contract over the table.
        reasons: What to say, and the ibis boolean that a row fails.
        repeated: What rules of uniqueness found.
        judged: What pandera found.

    Returns:
        Row number counted from 1, reasons, and each cell as text, its first 1,000 characters, in the order of the rows.
    """
    import ibis
    import polars as pl

    row, rows = f"{bound.free}row", dict[int, dict[str, Any]]()
    why: dict[int, list[str]] = {}
    numbered = bound.table.mutate(
        **{row: ibis.row_number()}, **{f"{bound.free}f{index}": fails for index, (_, fails) in enumerate(reasons)}
    )
    by_pandera = {reason: indices[:MAX_FAILING_ROWS] for item in judged for reason, indices in item.failing}
    wanted = [numbered[f"{bound.free}f{index}"] for index in range(len(reasons))]
    listed = sorted({index for indices in by_pandera.values() for index in indices})[:MAX_FAILING_ROWS]
    if listed:
        wanted.append(numbered[row].isin(listed))
    if wanted:
        flags = [f"{bound.free}f{index}" for index in range(len(reasons))]
        failed = numbered.filter(ibis.or_(*wanted))
        if numbered.get_backend().name == "duckdb":  # keeps the order of the file: the scan ends with the last row
            failed = failed.limit(MAX_FAILING_ROWS)
        for found in _fetch(bound, failed, row, flags):
            index = int(found[row])
            rows[index] = found
            why[index] = [said for flag, (said, _) in zip(flags, reasons, strict=True) if found[flag]]
            why[index] += [said for said, indices in by_pandera.items() if index in indices]
    for item in repeated:
        for found in _fetch(bound, _repeated(bound, numbered, row, item), row, []):
            rows.setdefault(int(found[row]), found)
            why.setdefault(int(found[row]), []).append(item.reason)
    picked = sorted(rows)[:MAX_FAILING_ROWS]
    cells = _cell_names(bound)
    return pl.DataFrame(
        [
            pl.Series("row", [index + 1 for index in picked], dtype=pl.Int64),
            pl.Series("reasons", ["; ".join(why[index]) for index in picked], dtype=pl.String),
            *(pl.Series(shown, [rows[index][name] for index in picked], dtype=pl.String) for name, shown in cells),
        ]
    )


def _cell_names(bound: Bound) -> list[tuple[str, str]]:
    named: list[tuple[str, str]] = []
    taken: set[str] = set()
    for index, name in enumerate(bound.dtypes):
        shown = f"cell_{name[:MAX_NAME]}"
        shown = f"{shown}_{index}" if shown in taken else shown
        taken.add(shown)
        named.append((name, shown))
    return named


def _fetch(bound: Bound, table: Any, row: str, flags: list[str]) -> list[dict[str, Any]]:
    import ibis

    shown = {  # cut before the rows are put in order: what is kept in memory is small
        name: ibis.null("string") if dtype.is_nested() else table[name].cast("string").left(_MAX_CELL)
        for name, dtype in bound.dtypes.items()
    }
    return fetch(table.select(row, *flags, **shown).order_by(row).limit(MAX_FAILING_ROWS))


def _repeated(bound: Bound, numbered: Any, row: str, item: Repeated) -> Any:
    import ibis

    keys = {f"{bound.free}k{index}": name for index, name in enumerate(item.keys)}
    groups = item.groups.select(**{key: item.groups[name] for key, name in keys.items()})
    given = numbered.semi_join(groups, [numbered[name].identical_to(groups[key]) for key, name in keys.items()])
    if not item.spare_first:
        return given
    again = f"{bound.free}again"
    given = given.mutate(**{again: ibis.row_number().over(group_by=list(item.keys), order_by=row)})
    return given.filter(given[again] > 0)
