"""The intermediate form of a data contract: a pandera schema as a list of rules, compilable or with why not.

Both the pass over a table (`engine.run`) and the service's rules for each request row (`request_rules`) come from this
form. A built-in check is known by its functions, never by its name, so that a user's own Python check that calls itself
`in_range` is not taken for pandera's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from secure_ml.contracts.findings import Fallback, ReasonCode
from secure_ml.contracts.regex_subset import portable
from secure_ml.errors import PreconditionError

__all__ = ["CODE_OF_CHECK", "METADATA_KEY", "ContractColumn", "Rule", "Rules", "Tier", "compile_rules", "to_schema"]

METADATA_KEY = "secure_ml"
CODE_OF_CHECK = "_secure_ml_code"
"""The attribute of a Python check's function that holds the reason code of its findings."""
_MAX_SHOWN = 120
_ANY_NAME = "^(?s).*$"

Tier = Literal["warn", "block"]

_CODES: dict[str, ReasonCode] = {
    "equal_to": "unexpected_value",
    "not_equal_to": "unexpected_value",
    "greater_than": "out_of_range",
    "greater_than_or_equal_to": "out_of_range",
    "less_than": "out_of_range",
    "less_than_or_equal_to": "out_of_range",
    "in_range": "out_of_range",
    "isin": "unexpected_value",
    "notin": "unexpected_value",
    "str_matches": "pattern",
    "str_contains": "pattern",
    "str_startswith": "pattern",
    "str_endswith": "pattern",
    "str_length": "length",
    "unique_values_eq": "unexpected_value",
    "null_fraction_at_most": "missing_values",
    "mean_between": "aggregate",
    "quantile_between": "aggregate",
    "row_count_between": "row_count",
    "fresh_within": "freshness",
    "value_fraction_between": "aggregate",
    "token_fraction_between": "aggregate",
    "out_of_vocabulary_at_most": "vocabulary",
    "distinct_at_least": "low_uniqueness",
    "distinct_at_most": "high_uniqueness",
    "items_between": "valency",
    "columns_compare": "row_rule",
    "no_duplicate_rows": "duplicates",
}
_OF_COLUMN = ("environments", "tier", "drift", "skew", "personal")
_OF_SCHEMA = ("tier", "slices", "rows_ratio")
_OF_TABLE = {"row_count_between", "columns_compare", "no_duplicate_rows"}


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a contract.

    Attributes:
        column: The column, None for a rule of the whole table.
        kind: pandera's name of the check, a constructor's of `contracts.checks`, or `column_present`, `type`,
            `not_nullable`, `field_uniqueness`, `multiple_fields_uniqueness`.
        parameters: The figures of the rule.
        tier: What a failure does.
        code: Why it failed, if it fails.
        ignore_na: Whether a missing cell satisfies it.
        description: What pandera's check says of itself.
        why: Why it cannot be compiled, None where it can.
        check: The pandera check, to fall back on.
    """

    column: str | None
    kind: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    tier: Tier = "block"
    code: ReasonCode = "check"
    ignore_na: bool = True
    description: str | None = None
    why: str | None = None
    check: Any = None

    @property
    def name(self) -> str:
        """The rule as people and findings call it."""
        if not self.parameters:
            return self.kind
        return f"{self.kind}({', '.join(map(_shown, self.parameters.values()))})"[:_MAX_SHOWN]


def _shown(value: Any) -> str:
    """Write a figure of a rule; a set has no order of its own, and its rule has one name in every process."""
    return f"{{{', '.join(sorted(map(repr, value)))}}}" if isinstance(value, set | frozenset) else str(value)


@dataclass(frozen=True, slots=True)
class ContractColumn:
    """What a contract says of one column, apart from its rules.

    Attributes:
        name: The name, or the pattern where `regex` is set.
        dtype: pandera's type for Polars, None for any.
        required: Whether it must be there.
        coerce: Whether other types are cast first.
        default: What stands for a missing cell, None for nothing.
        regex: Whether the name is a pattern over column names.
        environments: Where it must be there; it must be absent elsewhere. Empty for everywhere.
        tier: What a failure of the column as such does.
        settings: What its metadata say for secure-ml.
        schema: The pandera column, to fall back on.
    """

    name: str
    dtype: Any
    required: bool = True
    coerce: bool = False
    default: Any = None
    regex: bool = False
    environments: tuple[str, ...] = ()
    tier: Tier = "block"
    settings: Mapping[str, Any] = field(default_factory=dict)
    schema: Any = None


@dataclass(frozen=True, slots=True)
class Rules:
    """A compiled contract. Made by `compile_rules`.

    Attributes:
        columns: Declared columns, in order.
        rules: All rules; those of a column whose name is a pattern carry the pattern as column.
        strict: Whether a column that is not declared is refused; `filter` leaves it out.
        ordered: Whether columns must stand in the contract's order.
        pandas: Whether the schema was written for pandas; Python checks then get a pandas object.
        tier: Tier of the rules about the shape of the table.
        slices: Parts of a batch that are looked at too, see `slicing`.
        rows_ratio: How many times the rows of the previous batch there may be, at least and at most.
    """

    columns: tuple[ContractColumn, ...]
    rules: tuple[Rule, ...]
    strict: bool | Literal["filter"] = False
    ordered: bool = False
    pandas: bool = False
    tier: Tier = "block"
    slices: tuple[str, ...] = ()
    rows_ratio: tuple[float, float] | None = None

    @property
    def fallbacks(self) -> tuple[Fallback, ...]:
        """Rules that pandera has to run, and why; the types of a table may add some."""
        return tuple(Fallback(rule.column, rule.name, rule.why) for rule in self.rules if rule.why is not None)

    def of(self, column: str | None) -> tuple[Rule, ...]:
        """Return the rules of one column, or of the table."""
        return tuple(rule for rule in self.rules if rule.column == column)


def to_schema(schema: Any) -> Any:
    """Return a pandera `DataFrameSchema` from itself or from a `DataFrameModel` class.

    Raises:
        PreconditionError: Neither.
    """
    made = schema.to_schema() if isinstance(schema, type) and hasattr(schema, "to_schema") else schema
    if not hasattr(made, "columns") or not hasattr(made, "checks"):
        raise PreconditionError("contract: expected a pandera DataFrameSchema or DataFrameModel")
    return made


def compile_rules(schema: Any) -> Rules:
    """Compile a pandera schema.

    Args:
        schema: A `DataFrameSchema` or `DataFrameModel`, for Polars or pandas.

    Raises:
        PreconditionError: It is no such schema, or it repairs data (`drop_invalid_rows`, `add_missing_columns`,
            parsers) or needs an index, which a table in a file has not.
    """
    schema = to_schema(schema)
    pandas = ".pandas." in f"{type(schema).__module__}."
    _refuse_repair(schema, "the schema")
    for name in ("add_missing_columns", "index"):
        if getattr(schema, name, None):
            raise PreconditionError(f"contract: {name} has no meaning for a table in a file; remove it")
    settings = _settings(schema.metadata, "the schema", _OF_SCHEMA)
    tier: Tier = settings.get("tier", "block")
    columns: list[ContractColumn] = []
    rules: list[Rule] = []
    for name, column in (schema.columns or _every_column(schema, pandas=pandas)).items():
        _refuse_repair(column, name)
        own = _settings(column.metadata, name, _OF_COLUMN)
        dtype = schema.dtype if schema.dtype is not None else column.dtype
        declared = ContractColumn(
            name=name,
            dtype=_polars_dtype(dtype, name) if pandas else dtype,
            required=bool(column.required),
            coerce=bool(schema.coerce or column.coerce),
            default=column.default,
            regex=bool(column.regex),
            environments=own.get("environments", ()),
            tier=own.get("tier", tier),
            settings=own,
            schema=column,
        )
        columns.append(declared)
        rules += _column_rules(column, declared)
    if schema.unique:
        listed = [schema.unique] if all(isinstance(item, str) for item in schema.unique) else schema.unique
        rules += [
            Rule(None, "multiple_fields_uniqueness", {"columns": tuple(names)}, tier, "duplicates") for names in listed
        ]
    rules += [_check_rule(None, check, tier) for check in schema.checks]
    return Rules(
        tuple(columns),
        tuple(rules),
        schema.strict,
        bool(schema.ordered),
        pandas,
        tier,
        settings.get("slices", ()),
        settings.get("rows_ratio"),
    )


def _every_column(schema: Any, *, pandas: bool) -> dict[str, Any]:
    """Return what stands for the columns of a schema that declares none: where it has a type, all are of that type."""
    if schema.dtype is None or schema.strict is True:
        return {}
    if pandas:
        from pandera.pandas import Column
    else:
        from pandera.polars import Column  # type: ignore[assignment]
    return {_ANY_NAME: Column(schema.dtype, required=False, regex=True, name=_ANY_NAME)}


def _column_rules(column: Any, declared: ContractColumn) -> Iterator[Rule]:
    name, tier = declared.name, declared.tier
    if declared.required:
        yield Rule(name, "column_present", {"column": name}, tier, "missing_column")
    if declared.dtype is not None:
        yield Rule(name, "type", {"dtype": str(declared.dtype)}, tier, "wrong_type")
    if not column.nullable:
        yield Rule(name, "not_nullable", {}, tier, "missing_values", ignore_na=False)
    if column.unique:
        yield Rule(name, "field_uniqueness", {}, tier, "duplicates")
    for check in column.checks:
        yield _check_rule(name, check, tier)


def _check_rule(column: str | None, check: Any, tier: Tier) -> Rule:
    kind, parameters, why = _recognise(check)
    if why is None and (column is None) != (kind in _OF_TABLE):
        why = "a check of a column stands on the table" if column is None else "a check of the table stands on a column"
    if why is None and kind in ("str_matches", "str_contains"):
        why = _pattern_why(parameters["pattern"])
    return Rule(
        column,
        kind,
        parameters,
        "warn" if check.raise_warning else tier,
        getattr(check._check_fn, CODE_OF_CHECK, None) or _CODES.get(kind, "check"),
        bool(check.ignore_na),
        check.description,
        why,
        check,
    )


def _recognise(check: Any) -> tuple[str, dict[str, Any], str | None]:
    from pandera.api.function_dispatch import Dispatcher

    from secure_ml.contracts.checks import ready

    made_here = ready(check)
    if made_here is not None:
        return *made_here, None
    name = str(check.name or "check")
    function, parameters = check._check_fn, dict(check.statistics or {})
    if not isinstance(function, Dispatcher) or function.__name__ not in _CODES:
        return name, parameters, "it is a Python function"
    # A schema copies its checks, and with them the table of functions, but never the functions.
    if not all(item.__module__.startswith("pandera.backends.") for item in function._function_registry.values()):
        return name, parameters, "it is a Python function"
    if check.element_wise or check.groupby is not None:
        return function.__name__, parameters, "it is made for each element or group in Python"
    return function.__name__, parameters, None


def _pattern_why(pattern: Any) -> str | None:
    text = getattr(pattern, "pattern", pattern)
    flags = getattr(pattern, "flags", 32)
    if not isinstance(text, str):
        return "the pattern is not text"
    if flags & ~32:  # re.UNICODE
        return "Polars ignores the flags of a compiled Python pattern; write it as text"
    try:
        portable(text)
    except PreconditionError as error:
        return str(error)
    return None


def _refuse_repair(part: Any, name: str) -> None:
    for setting in ("drop_invalid_rows", "parsers"):
        if getattr(part, setting, None):
            raise PreconditionError(f"contract of {name}: {setting} repairs data; a contract only judges it, remove it")


def _settings(metadata: Any, name: str, known: Sequence[str]) -> dict[str, Any]:
    """Return what metadata say for secure-ml; a word that is not known would be a guard that is not there."""
    where = f"contract of {name}: metadata {METADATA_KEY}"
    given = (metadata or {}).get(METADATA_KEY)
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise PreconditionError(f"{where} is not a dictionary")
    settings = {key: value for key, value in given.items() if value is not None}
    unknown = sorted(repr(key)[:40] for key in settings if key not in known)
    if unknown:
        raise PreconditionError(f"{where}: {unknown[0]} is not known here; expected some of {', '.join(known)}")
    if settings.get("tier", "block") not in ("warn", "block"):
        raise PreconditionError(f"{where}: tier is not warn or block")
    if not isinstance(settings.get("personal", False), bool):
        raise PreconditionError(f"{where}: personal is not True or False")
    for key in ("environments", "slices"):
        texts = settings.get(key, ())
        if not isinstance(texts, list | tuple) or not all(isinstance(item, str) for item in texts):
            raise PreconditionError(f"{where}: {key} is not a tuple of texts")
        if key in settings:
            settings[key] = tuple(texts)
    for key in ("drift", "skew"):
        if key in settings:
            settings[key] = _least(settings[key], f"{where}: {key}")
    if "rows_ratio" in settings:
        pair = settings["rows_ratio"]
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise PreconditionError(f"{where}: rows_ratio is not (least, most)")
        low, high = (_least(value, f"{where}: rows_ratio") for value in pair)
        if low > high:
            raise PreconditionError(f"{where}: rows_ratio has a least above its most")
        settings["rows_ratio"] = (low, high)
    return settings


def _least(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise PreconditionError(f"{where} is not a number of at least 0")
    return float(value)


def _polars_dtype(dtype: Any, name: str) -> Any:
    """Return pandera's type for Polars that stands for a type for pandas."""
    if dtype is None:
        return None
    import polars as pl
    from pandera.engines import polars_engine

    text = str(dtype)
    known: dict[str, Any] = {
        **{kind.lower(): getattr(pl, kind) for kind in ("Int8", "Int16", "Int32", "Int64", "Float32", "Float64")},
        **{kind.lower(): getattr(pl, kind) for kind in ("UInt8", "UInt16", "UInt32", "UInt64", "Date")},
        **dict.fromkeys(("bool", "boolean"), pl.Boolean),
        **dict.fromkeys(("str", "string", "object"), pl.String),
        "category": pl.Categorical,
    }
    wanted = known.get(text.lower().split("[")[0])
    if text.startswith("datetime64"):
        zone = text.removesuffix("]").partition(",")[2].strip() or None
        unit: Any = text.partition("[")[2][:2]
        wanted = pl.Datetime(unit if unit in ("ns", "us", "ms") else "us", zone)
    if wanted is None:
        raise PreconditionError(f"contract of {name}: type {text[:40]} has no equal in a table; use another")
    return polars_engine.Engine.dtype(wanted)
