"""Personal data in a column: e-mail addresses, phone and card numbers, IBANs, national ids: counted, never shown.

`no_personal_data()` gives ready pandera checks for a column; `screen_table` looks at every column of a table that the
contract does not mark as personal. Both work alike, one column and one kind at a time:

1. *Candidates*: the engine filters with one regular expression, so a column without any costs one scan. Of more than
   `Limits.candidates` distinct ones a fixed sample is looked at, in a table only of the first `_MAX_ROWS` rows that
   have any; the count of rows is then a lower bound.
2. *Proof*: each candidate is held against the library of its kind, see `personal_forms`. Only what passes counts. Of a
   long text the first `MAX_CHARACTERS` are looked at.
3. *Chance*: one in ten order numbers passes the Luhn checksum. A form with a checksum that chance passes is counted
   only where more candidates pass than chance explains, from ten candidates on; bare digits that are a national id or
   a national phone number by chance alone are not counted below ten.

Numbers that are stored as integers, or as floats without a fraction, are looked at as their digits. In a table of an
engine, digits are 0 to 9.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, get_args

from secure_ml.contracts.engine.binding import personal_columns, resolve
from secure_ml.contracts.engine.row_rules import count_where
from secure_ml.contracts.findings import Finding, Report, in_order
from secure_ml.contracts.rules import CODE_OF_CHECK, Rules, Tier, compile_rules
from secure_ml.errors import PreconditionError
from secure_ml.screening.personal_kinds import MAX_CHARACTERS, PersonalKind, proved
from secure_ml.tables.data_files import table_of
from secure_ml.tables.opened_table import DEFAULT_LIMITS, OpenedTable
from secure_ml.tables.queries import fetch

if TYPE_CHECKING:
    import ibis
    import pandera.polars as pa
    import polars as pl

__all__ = [
    "MAX_CHARACTERS",
    "PersonalKind",
    "known_personal",
    "no_personal_data",
    "personal_rows",
    "screen_table",
    "with_personal",
]

_EXACT = 2**53  # a float holds each whole number below this
_LEAST = 10_000_000  # a number with fewer digits is nothing personal
_MAX_ROWS = 100_000  # with candidates of one kind, from the beginning of the table

# What is looked for first: in the common part of all engines, and never stricter than the proof.
_CANDIDATES: dict[PersonalKind, str] = {
    "email": r"[^\s@]@[^\s@]+\.[^\s@]{2}",
    "phone": r"\+\s?\(?\d",
    "card": r"\d(?:[ -]?\d){12}",
    "iban": r"[A-Za-z]{2}\d{2} ?[A-Za-z0-9]{4} ?[A-Za-z0-9]{4}",
    "national_id": r"\d{9}|\d{2}[ .]\d{2,3}[ .]\d{2,3}|\d{3}[ .-]\d{2,3}[ .-]\d{3}|\d{6}[-+A-FU-Y]\d{3}|\d{8}-?[A-Z]"
    r"|[XYZ]-?\d{7}|\d{4} \d{4} \d{4}|756\.|\d \d\d \d\d|[A-Z]{4}\d{6}[HM]|[A-Z]{6}\d\d[A-Z]",
}
_DIGITS = r"\d(?:[\s().\-/]{0,2}\d){6}"  # a national phone number
_SAID: dict[PersonalKind, str] = {
    "email": "hold an e-mail address",
    "phone": "hold a phone number",
    "card": "hold a payment card number",
    "iban": "hold an IBAN",
    "national_id": "hold a national id",
}


def no_personal_data(*kinds: PersonalKind, regions: Sequence[str] = (), warn: bool = False) -> list[pa.Check]:
    """Return one check for each kind: no cell of a column holds such personal data.

    Args:
        kinds: Which kinds; all where none is given.
        regions: Countries (`US`, `DE`) whose national way of writing phone numbers counts too; without, `+...` only.
        warn: Findings warn instead of block.

    Raises:
        PreconditionError: There is no such kind.
    """
    import pandera.polars as pa

    for kind in kinds:
        if kind not in _SAID:
            raise PreconditionError(f"no_personal_data: expected some of {', '.join(_SAID)}")

    def check_of(kind: PersonalKind) -> pa.Check:
        def check(given: Any) -> Any:
            import polars as pl

            if isinstance(given, pa.PolarsData):
                column = given.lazyframe.select(given.key).collect().to_series()
                return pl.LazyFrame({"check_output": ~personal_rows(column, kind, regions)})
            values = (~personal_rows(pl.from_pandas(given), kind, regions)).to_numpy()
            return type(given)(values, index=given.index)  # a schema for pandas

        setattr(check, CODE_OF_CHECK, "personal")
        name = f"no_personal_data({kind})"
        return pa.Check(check, name=name, description=_SAID[kind], raise_warning=warn, ignore_na=False)

    return [check_of(kind) for kind in kinds or get_args(PersonalKind)]


def screen_table(
    table: ibis.Table | OpenedTable,
    *,
    known: Collection[str] = (),
    regions: Sequence[str] = (),
    tier: Tier = "warn",
    most_rows: int | None = None,
) -> tuple[Finding, ...]:
    """Look for personal data in all columns of text and of numbers but the `known` ones.

    A table without any costs one scan, in the engine; what costs is the proof of candidates.

    Args:
        table: A table of any ibis engine.
        known: Columns that are meant to hold personal data, or are checked already.
        regions: As in `no_personal_data`.
        tier: Of the findings.
        most_rows: Look at no more rows, from the beginning; findings say so.

    Raises:
        MalformedError: The file behind the table cannot be read to its end.
    """
    opened = OpenedTable.from_table(table)
    screened = opened if most_rows is None else opened.with_table(opened.table.limit(most_rows))
    return tuple(
        Finding(
            column,
            f"no_personal_data({kind})",
            count,
            rows,
            tier,
            f"{column}: {'' if complete else 'at least '}{count} of {'the first ' * (rows == most_rows)}{rows} rows "
            f"{_SAID[kind]}",
            "personal",
            "screen",
        )
        for column, kind, count, complete, rows in _suspects(screened, known, regions)
    )


def _suspects(
    opened: OpenedTable, known: Collection[str], regions: Sequence[str]
) -> Iterator[tuple[str, PersonalKind, int, bool, int]]:
    """Yield columns that hold a kind, in how many rows, whether these are all such rows, and the rows of the table."""
    table = opened.table
    texts = {name: text for name in table.columns if name not in known and (text := _as_text(table[name])) is not None}
    patterns = {kind: _pattern(kind, regions) for kind in get_args(PersonalKind)}
    any_kind = "|".join(patterns.values())
    given = iter(texts.items())
    while part := list(islice(given, opened.limits.columns_at_once)):
        suspicious = {
            f"c{index}": count_where(text.re_search(_portable(any_kind))) for index, (_, text) in enumerate(part)
        }
        (counts,) = fetch(opened, table.aggregate(rows=table.count(), **suspicious))
        for index, (name, text) in enumerate(part):
            if not counts[f"c{index}"]:
                continue
            found, all_found = _candidates(opened, text, any_kind)
            for kind, pattern in patterns.items():
                few, complete = found, True
                if not all_found:
                    few, complete = _candidates(opened, text, pattern)
                few = {candidate: rows for candidate, rows in few.items() if re.search(pattern, candidate)}
                count = sum(few[candidate] for candidate in proved(list(few), kind, regions))
                if count:
                    yield name, kind, count, complete, counts["rows"]


def _candidates(opened: OpenedTable, text: ibis.StringValue, pattern: str) -> tuple[dict[str, int], bool]:
    """Return different texts that match, with the rows that hold them, and whether these are all."""
    most = opened.limits.candidates
    cut = opened.table.select(text=text.substr(0, MAX_CHARACTERS))
    matching = cut.filter(cut["text"].re_search(_portable(pattern))).limit(_MAX_ROWS)
    counted = matching.group_by("text").aggregate(rows=matching.count())
    found = fetch(opened, counted.order_by([counted["text"].hash(), counted["text"]]).limit(most + 1))
    few = {item["text"]: int(item["rows"]) for item in found[:most]}
    return few, len(found) <= most and sum(few.values()) < _MAX_ROWS


def _portable(pattern: str) -> str:
    """Let the spaces of a pattern be all of Unicode's, as in Python; for digits that takes each engine too long."""
    return pattern.replace(r"[\s", r"[\s\p{Z}").replace(r"\s?", r"[\s\p{Z}]?")


def _as_text(column: ibis.Value) -> ibis.StringValue | None:
    """Return a column as text; None where it cannot hold such data."""
    kind = column.type()
    if kind.is_string():
        return column
    if kind.is_floating():
        held = (column.abs() < _EXACT).ifelse(column, 0.0)  # floor() fails on larger ones
        column = (held == held.floor()).ifelse(held, 0.0).cast("int64")
    elif not kind.is_integer():
        return None
    return (column >= _LEAST).ifelse(column.cast("string"), "")


def _pattern(kind: PersonalKind, regions: Sequence[str]) -> str:
    return f"{_CANDIDATES[kind]}|{_DIGITS}" if kind == "phone" and regions else _CANDIDATES[kind]


def with_personal(
    report: Report,
    schema: Any,
    table: ibis.Table | OpenedTable | None = None,
    *,
    tier: Tier = "warn",
    most_rows: int | None = None,
) -> Report:
    """Add what looks like personal data in a column that the contract does not say it of.

    Args:
        report: What the contract found.
        schema: The contract, a pandera schema.
        table: What is looked at; the report's frame where it is None, and nothing where there is no frame.
        tier: Of the findings.
        most_rows: See `screen_table`.
    """
    if table is None:
        if report.frame is None:
            return report
        table = table_of(report.frame)
    table = OpenedTable.from_table(table)
    known = known_personal(compile_rules(schema), table.columns)
    found = [*report.findings, *screen_table(table, known=known, tier=tier, most_rows=most_rows)]
    return replace(report, findings=in_order(found))


def known_personal(rules: Rules, names: Sequence[str]) -> frozenset[str]:
    """Return which columns of a table a contract calls personal, or holds `no_personal_data` against."""
    _, resolved = resolve(rules, list(names))
    checked = {rule.column for rule in resolved if rule.code == "personal" and rule.column is not None}
    return personal_columns(rules, names) | checked


def personal_rows(
    column: pl.Series,
    kind: PersonalKind,
    regions: Sequence[str] = (),
    *,
    candidates: int = DEFAULT_LIMITS.candidates,
) -> pl.Series:
    """Tell which cells hold personal data of one kind; a missing cell holds none.

    If the column has more than `candidates` distinct candidates, a fixed sample of so many is proved.
    """
    import polars as pl

    texts = _texts(column, kind)
    none = pl.repeat(value=False, n=len(column), dtype=pl.Boolean, eager=True)
    if texts is None:
        return none
    matching = texts.filter(texts.str.contains(_pattern(kind, regions)).fill_null(value=False)).unique()
    if len(matching) > candidates:
        matching = matching.gather(matching.hash(seed=0).arg_sort().head(candidates))
    found = proved(matching.to_list(), kind, regions)
    if not found:
        return none
    return texts.is_in(pl.Series(sorted(found), dtype=pl.String).implode()).fill_null(value=False)


def _texts(column: pl.Series, kind: PersonalKind) -> pl.Series | None:
    """Return a column as text; None where it cannot hold such data."""
    import polars as pl

    dtype = column.dtype
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return column.cast(pl.String)
    if kind in ("email", "iban") or not dtype.is_numeric() or dtype.is_decimal():
        return None
    if dtype.is_float():
        whole = column.is_finite() & (column == column.floor()) & (column.abs() < _EXACT)
        column = column.set(~whole.fill_null(value=False), None).cast(pl.Int64)
    return column.set((column < _LEAST).fill_null(value=False), None).cast(pl.String)
