"""A contract's columns bound to those of one table: which are there, of which type, and what that alone says.

Findings about the shape of a table (a column that is missing, new, out of order or of another type) need no scan.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from secure_ml.contracts.engine.row_rules import UnsupportedRule, literal, type_name
from secure_ml.contracts.findings import Finding, ReasonCode, prefix
from secure_ml.contracts.rules import ContractColumn, Rule, Rules, Tier
from secure_ml.errors import PreconditionError
from secure_ml.tables.cells import Cell
from secure_ml.tables.opened_table import OpenedTable
from secure_ml.tables.text_files import MAX_NAME, separator_hint
from secure_ml.tables.text_types import typed

if TYPE_CHECKING:
    import ibis
    import polars as pl

__all__ = ["BoundContract", "bind", "computed", "personal_columns", "resolve"]

_MAX_NAMES = 5
_ENVIRONMENTS = frozenset({"training", "serving"})
"""What each contract that names an environment knows: one names `training` alone, to forbid a label in `serving`."""


@dataclass(frozen=True, slots=True)
class BoundContract:
    """A contract over one table.

    Attributes:
        table: The table, its columns typed where it is text.
        cells: Each declared column that is there.
        rules: The rules that are to be run, patterns over column names resolved.
        declared: The declared columns that are there, in the contract's order.
        pandera_columns: Columns that pandera has to judge as a whole, and why.
        shape: Findings that need no scan; their row counts are filled in later.
        names: The columns that the file has, without those that the contract leaves out.
        dtypes: All columns of the file, as Polars would read them.
        keys: Column to the name that its typed values have in `table`.
        temp_prefix: A prefix that no column's name has, for temporary columns.
        opened: The table before its columns were typed.
        source_cells: Each declared column that is there, over `opened`.
    """

    table: ibis.Table
    cells: Mapping[str, Cell]
    rules: tuple[Rule, ...]
    declared: tuple[ContractColumn, ...]
    pandera_columns: Mapping[str, str]
    shape: tuple[Finding, ...]
    names: tuple[str, ...]
    dtypes: Mapping[str, pl.DataType]
    keys: Mapping[str, str]
    temp_prefix: str
    opened: OpenedTable
    source_cells: Mapping[str, Cell]


def bind(opened: OpenedTable, rules: Rules, *, environment: str | None) -> BoundContract:
    """Bind a contract to a table.

    Args:
        opened: A table of any engine.
        rules: The contract.
        environment: Where the table comes from; None leaves environments out of the question.

    Raises:
        PreconditionError: A declared type has no text, a pattern over names cannot be read, or no such environment.
    """
    _require_environment(rules, environment)
    table, dtypes, text = opened.table, opened.dtypes, opened.is_text
    shape: list[Finding] = []
    columns, kept = resolve(rules, list(dtypes))
    here: list[ContractColumn] = []
    gone: set[str] = set()
    for column in columns:
        wanted = environment is None or not column.environments or environment in column.environments
        if not wanted:
            if column.name in dtypes:
                shape.append(
                    _said(
                        column.name,
                        f"column_absent({column.name})",
                        "new_column",
                        column.tier,
                        "column must be absent in " + str(environment),
                    )
                )
            gone.add(column.name)
        elif column.name in dtypes:
            here.append(column)
        else:
            if column.required or (environment is not None and column.environments):
                shape.append(
                    _said(
                        column.name,
                        f"column_present({column.name})",
                        "missing_column",
                        column.tier,
                        "column is missing",
                    )
                )
            gone.add(column.name)
    if text and columns and not dtypes.keys() & {column.name for column in columns}:
        # Not that each is missing. What stands for the names may be cells, and is not shown.
        shape = [_no_names(columns, list(dtypes))]
    else:
        shape += _extra(rules, columns, list(dtypes))
    shape += _order(rules, here, list(dtypes))
    source_cells, pandera_columns = _cells(table, dtypes, here, text=text)
    temp_prefix = _temp_prefix(dtypes)
    base, cells, keys = computed(table, source_cells, temp_prefix, table.columns)
    left: list[Rule] = []
    declared = {(column.name, str(column.dtype)): column for column in reversed(here)}
    for rule in kept:
        if rule.kind == "column_present" or rule.column in pandera_columns or rule.column in gone:
            continue
        if rule.kind == "type" and not text:
            # Two patterns over names may match one column, each with a type of its own.
            column = declared[str(rule.column), rule.parameters["dtype"]]
            shape += _wrong_type(rule, column, dtypes, rules.pandas)
            continue
        if rule.kind == "type" and cells[str(rule.column)].unparsable is None:
            continue
        left.append(rule)
    names = tuple(column.name for column in here) if rules.strict == "filter" else tuple(dtypes)
    return BoundContract(
        table=base,
        cells=cells,
        rules=tuple(left),
        declared=tuple(here),
        pandera_columns=pandera_columns,
        shape=tuple(shape),
        names=names,
        dtypes=dict(dtypes),
        keys=keys,
        temp_prefix=temp_prefix,
        opened=opened,
        source_cells=source_cells,
    )


def _require_environment(rules: Rules, environment: str | None) -> None:
    """Refuse an environment that means nothing: a name that is misspelt would forbid columns, or change nothing."""
    named = {name for column in rules.columns for name in column.environments}
    if environment is None or environment in named or (named and environment in _ENVIRONMENTS):
        return
    known = f"knows {', '.join(sorted(named | _ENVIRONMENTS))}" if named else "names no environments"
    raise PreconditionError(f"environment {environment[:MAX_NAME]}: the contract {known}")


def personal_columns(rules: Rules, names: Iterable[str]) -> frozenset[str]:
    """Return which columns of a table the contract declares as personal, by name or by a pattern that they match."""
    columns, _ = resolve(rules, list(names))
    return frozenset(column.name for column in columns if column.settings.get("personal"))


def _said(column: str | None, rule: str, code: ReasonCode, tier: Tier, sentence: str) -> Finding:
    return Finding(column, rule, 0, 0, tier, f"{prefix(column)}{sentence}", code, "compiled")


def _no_names(columns: Sequence[ContractColumn], names: list[str]) -> Finding:
    expected = ", ".join(column.name[:MAX_NAME] for column in columns[:_MAX_NAMES])
    expected += ", ..." if len(columns) > _MAX_NAMES else ""
    said = f"none of {len(names)} column names is in the contract, expected {expected}"
    said += separator_hint(names) or "; is the line of names missing?"
    return _said(None, "line_of_names", "missing_column", "block", said)


def resolve(rules: Rules, names: list[str]) -> tuple[list[ContractColumn], list[Rule]]:
    """Put the columns that a pattern matches in its place; a declared column is left to its own rules."""
    declared = {column.name for column in rules.columns if not column.regex}
    columns: list[ContractColumn] = []
    own: dict[str | None, list[Rule]] = {}
    for rule in rules.rules:
        own.setdefault(rule.column, []).append(rule)
    made: list[Rule] = own.get(None, [])
    for column in rules.columns:
        matched = [column.name]
        if column.regex:
            matched = [name for name in _matching(column, names) if name not in declared] or matched
        columns += [replace(column, name=name, regex=False) for name in matched]
        made += [replace(rule, column=name) for name in matched for rule in own.get(column.name, ())]
    return columns, made


def _matching(column: ContractColumn, names: list[str]) -> list[str]:
    """Return the names that a pattern matches, as pandera's Polars backend does: `^a|b$` matches `ab` too."""
    import polars as pl

    pattern = column.name if column.name.startswith("^") and column.name.endswith("$") else f"^{column.name}$"
    try:
        return pl.LazyFrame(schema=dict.fromkeys(names, pl.Null)).select(pl.col(pattern)).collect_schema().names()
    except pl.exceptions.PolarsError:
        raise PreconditionError(f"contract: {column.name[:MAX_NAME]} is no pattern over column names") from None


def _extra(rules: Rules, columns: list[ContractColumn], names: list[str]) -> list[Finding]:
    if rules.strict is not True:
        return []
    known = {column.name for column in columns}
    return [
        Finding(
            None,
            "no_extra_column",
            0,
            0,
            rules.tier,
            f"{name[:MAX_NAME]!r}: column is not in the contract",
            "new_column",
            "compiled",
        )
        for name in names
        if name not in known
    ]


def _order(rules: Rules, here: list[ContractColumn], names: list[str]) -> list[Finding]:
    if not rules.ordered:
        return []
    expected = list(dict.fromkeys(column.name for column in here))  # two patterns may match one column
    found = [name for name in names if name in set(expected)]
    for want, have in zip(expected, found, strict=True):
        if want != have:
            return [_said(have, "column_ordered", "column_order", rules.tier, "column is out of order")]
    return []


def _wrong_type(rule: Rule, column: ContractColumn, dtypes: Mapping[str, pl.DataType], pandas: bool) -> list[Finding]:
    actual = dtypes[column.name]
    if _matches(column, actual, pandas):
        return []
    said = f"column is of type {type_name(actual)}, expected {column.dtype}"
    return [_said(column.name, rule.name, "wrong_type", rule.tier, said)]


def _matches(column: ContractColumn, actual: pl.DataType, pandas: bool) -> bool:
    import polars as pl
    from pandera.api.polars.types import PolarsData

    if column.coerce and _coerced(actual, column.dtype.type):
        return True
    if pandas:  # pandas has one kind of text, and its unit of time is not part of what people declare
        wanted = column.dtype.type
        if isinstance(wanted, pl.Datetime) and isinstance(actual, pl.Datetime):
            return (wanted.time_zone is None) == (actual.time_zone is None)
        if wanted == pl.Categorical and actual == pl.String:
            return True
    frame = pl.LazyFrame(schema={column.name: actual})
    return bool(column.dtype.check(actual, PolarsData(frame, column.name)))


def _coerced(actual: pl.DataType, wanted: Any) -> bool:
    """Whether a cast loses nothing and cannot fail, so that the column can be judged as it stands."""
    import polars as pl

    widths = {pl.Int8: 8, pl.Int16: 16, pl.Int32: 32, pl.Int64: 64}
    if actual == wanted:
        return True
    signed = next((bits for kind, bits in widths.items() if actual == kind), None)
    to = next((bits for kind, bits in widths.items() if wanted == kind), None)
    if signed and to:
        return to >= signed
    return bool(signed and signed <= 32 and wanted == pl.Float64) or (actual == pl.Float32 and wanted == pl.Float64)


def _cells(
    table: ibis.Table, dtypes: Mapping[str, pl.DataType], here: list[ContractColumn], *, text: bool
) -> tuple[dict[str, Cell], dict[str, str]]:
    """Return each declared column as the rules see it, and those that pandera has to judge as a whole."""
    cells: dict[str, Cell] = {}
    pandera_columns: dict[str, str] = {}
    for column in here:
        actual, value, wanted = dtypes[column.name], table[column.name], _native(column)
        if text:
            cell = typed(column.name, value, wanted)
        elif column.coerce and wanted is not None and actual != wanted:
            if not _coerced(actual, wanted):
                pandera_columns[column.name] = f"it is coerced from {type_name(actual)} to {column.dtype}"
                continue
            cell = Cell(column.name, wanted, value.cast(str(wanted).lower()), value.isnull())
        elif not _held(actual, value.type()):
            pandera_columns[column.name] = f"the engine does not hold it as {type_name(actual)}"
            continue
        else:
            cell = Cell(column.name, actual, value, value.isnull())
        if column.default is not None:
            try:
                filled = literal(column.default, cell.dtype)
            except UnsupportedRule:
                pandera_columns[column.name] = "its default is of another type"
                continue
            empty = cell.value.isnull() | cell.value.isnan() if cell.dtype.is_float() else cell.value.isnull()
            cell = replace(cell, value=empty.ifelse(filled, cell.value))
        cells[column.name] = cell
    return cells, pandera_columns


def _held(dtype: pl.DataType, kind: Any) -> bool:
    """Whether the engine holds a column as what Polars reads: a Parquet file may say the one thing to each."""
    import polars as pl

    if isinstance(dtype, pl.Datetime):
        return bool(kind.is_timestamp() or kind.is_unknown())  # to ibis, nanoseconds with a zone are unknown
    if dtype.is_numeric():
        return bool(kind.is_numeric())
    return bool(dtype == pl.Binary or not kind.is_binary())


def computed(
    table: ibis.Table, cells: Mapping[str, Cell], temp_prefix: str, names: Sequence[str]
) -> tuple[ibis.Table, dict[str, Cell], dict[str, str]]:
    """Compute once, as columns of a table beside the named ones, what is not a column as it stands.

    Args:
        table: As it came.
        cells: Columns over it.
        temp_prefix: A prefix that no column's name has.
        names: The columns to keep.

    Returns:
        The table, the cells over it, and column to the name that its typed values have in it.
    """
    changed = {
        name: f"{temp_prefix}{index}"
        for index, (name, cell) in enumerate(cells.items())
        if not cell.value.equals(table[name])
    }
    base = table
    if changed or len(names) < len(table.columns):
        base = table.select(*names, **{key: cells[name].value for name, key in changed.items()})
    keys = {name: changed.get(name, name) for name in names}
    made: dict[str, Cell] = {}
    for name, cell in cells.items():
        value, text = base[keys[name]], base[name]
        if cell.unparsable is None:
            made[name] = replace(cell, value=value, missing=value.isnull())
        else:
            missing = text.isnull() & value.isnull()
            made[name] = replace(cell, value=value, missing=missing, unparsable=value.isnull() & text.notnull())
    return base, made, keys


def _temp_prefix(names: Collection[str]) -> str:
    taken = [name.lower() for name in names]  # to the engine, T0_0 and t0_0 are one name
    return next(
        prefix
        for prefix in (f"t{count}_" for count in range(len(names) + 1))
        if not any(name.startswith(prefix) for name in taken)
    )


def _native(column: ContractColumn) -> Any:
    if column.dtype is None:
        return None
    native = column.dtype.type
    of_anything = ("List", "Array", "Struct", "Enum")
    return native() if isinstance(native, type) and native.__name__ not in of_anything else native
