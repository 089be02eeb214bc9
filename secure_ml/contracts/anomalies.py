"""Anomalies of a batch: what its contract says of it alone, beside other data, and of parts of it.

*Drift* is the distance from the previous batch, *skew* that of serving data from the training data. A column takes part
if its metadata for secure-ml names a threshold: `drift=0.1`, `skew=0.1`. Text, booleans and columns with a domain
(`isin`) are compared by L-infinity, the largest difference of a value's share; other columns by the Jensen-Shannon
divergence in bits, over the deciles of the reference. What cannot be compared is a finding, never a silent pass.

A *slice* is the part of the batch where a column, or an expression of columns, has one value. The same contract holds
there, and shares, means and quantiles can fail in a slice while the whole batch satisfies them. What the whole batch
fails is not said again, and in fewer than 30 rows a share is no evidence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from secure_ml.contracts.binding import Bound, bind
from secure_ml.contracts.comparing import Distance, Measure, compare_profiles
from secure_ml.contracts.compiled import run_rules
from secure_ml.contracts.findings import Finding, Report
from secure_ml.contracts.profile import Profile, parse
from secure_ml.contracts.profiling import profile_table
from secure_ml.contracts.queries import fetch
from secure_ml.contracts.rules import METADATA_KEY, Rules, Tier, compile_rules, to_schema
from secure_ml.contracts.tables import dtypes_of, is_text, open_table
from secure_ml.errors import PreconditionError
from secure_ml.home import read_file

if TYPE_CHECKING:
    import ibis

__all__ = ["Slice", "find_anomalies", "load_reference", "profile_as_declared"]

Comparator: TypeAlias = Literal["drift", "skew"]

_MAX_PROFILE_BYTES = 64 << 20
_MAX_SLICES = 100
_LEAST_ROWS = 30
_REFERENCES: dict[Comparator, str] = {"drift": "the previous batch", "skew": "the training data"}
_MEASURES = {"l_infinity": "L-infinity distance", "jensen_shannon": "Jensen-Shannon divergence"}


@dataclass(frozen=True, slots=True)
class Slice:
    """Parts of a batch, by the values of an expression.

    Attributes:
        name: For people; stands in findings.
        expression: From the columns, by name and typed as declared, to what the batch is divided by.
    """

    name: str
    expression: Callable[[Mapping[str, ibis.Value]], ibis.Value]


def find_anomalies(
    table: ibis.Table,
    contract: Any,
    *,
    environment: str | None = None,
    previous: Profile | None = None,
    training: Profile | None = None,
    slices: Sequence[str | Slice] = (),
) -> Report:
    """Hold a table against a contract, against other data, and slice by slice; bad data gives findings.

    Args:
        table: From `open_table`, or of any ibis engine.
        contract: A `Contract`, or a pandera schema.
        environment: Where the table comes from, such as `training` or `serving`.
        previous: What drift is measured from.
        training: What skew is measured from.
        slices: Columns or expressions, each with at most 100 values. Each slice costs a scan.

    Raises:
        MalformedError: The file behind the table cannot be read to its end.
        PreconditionError: The contract is wrong; or a slice is by a column that is not there, that is personal, or that
            has too many values.
    """
    schema = to_schema(getattr(contract, "schema", contract))
    rules = compile_rules(schema)
    report, bound = run_rules(table, rules, environment=environment)
    found = list(report.findings)
    references: dict[Comparator, Profile | None] = {"drift": previous, "skew": training}
    for code, reference in references.items():
        if reference is not None:
            found += _distances(schema, rules, bound, reference, code, report.rows)
    known = {(finding.column, finding.rule) for finding in report.findings}
    for slice_ in slices:
        found += _slice(table, schema, rules, bound, slice_, environment, known)
    found.sort(key=lambda finding: (finding.tier != "block", -finding.failed))
    return replace(report, findings=tuple(found))


def profile_as_declared(table: ibis.Table, contract: Any) -> Profile:
    """Profile the declared columns of a table, typed as the contract says; a cell of another type counts as missing."""
    schema = to_schema(getattr(contract, "schema", contract))
    rules = compile_rules(schema)
    bound = bind(table, dtypes_of(table), rules, text=is_text(table), environment=None)
    return _profile(schema, bound, [column.name for column in bound.declared])


def load_reference(
    path: Path, contract: Any, *, columns: Sequence[str] | None = None, null: Collection[str] = ("",)
) -> Profile:
    """Load a profile (`*.json`, as `secure-ml profile` writes it), or make one of a data file.

    Args:
        path: The file.
        contract: What types its columns.
        columns: Of a CSV file without a line of names.
        null: Cells of a CSV file that stand for a missing value.

    Raises:
        MalformedError: Neither a profile nor a table.
        UnavailableError: Missing or unreadable.
    """
    if path.suffix == ".json":
        return parse(read_file(path, max_bytes=_MAX_PROFILE_BYTES))
    return profile_as_declared(open_table(path, columns=columns, null=null), contract)


def _settings(schema: Any, name: str) -> Mapping[str, Any]:
    """Return the metadata of a column; a name that is not declared may match a pattern that is."""
    patterns = (column for pattern, column in schema.columns.items() if column.regex and re.fullmatch(pattern, name))
    column = schema.columns.get(name) or next(patterns, None)
    return (column.metadata or {}).get(METADATA_KEY, {}) if column is not None else {}


def _profile(schema: Any, bound: Bound, names: Sequence[str]) -> Profile:
    columns = [bound.table[bound.keys.get(name, name)].name(name) for name in names]
    personal = [name for name in names if _settings(schema, name).get("personal")]
    return profile_table(bound.table.select(columns), personal=personal)


def _distances(
    schema: Any, rules: Rules, bound: Bound, reference: Profile, code: Comparator, rows: int
) -> Iterator[Finding]:
    asked = {column.name: _settings(schema, column.name).get(code) for column in bound.declared}
    bounds = {name: float(value) for name, value in asked.items() if value is not None}
    if not bounds:
        return
    current = _profile(schema, bound, list(bounds))
    measured = {(found.column, found.measure): found for found in compare_profiles(reference, current)}
    for name, bound_ in bounds.items():
        measure: Measure = "l_infinity" if _is_category(bound, name) else "jensen_shannon"
        distance = measured.get((name, measure))
        said = _too_far(distance, measure, bound_, _REFERENCES[code])
        if said is not None:
            tier: Tier = _settings(schema, name).get("tier", rules.tier)
            yield Finding(name, f"{code}({measure}, {bound_:g})", rows, rows, tier, f"{name}: {said}", code, "compiled")


def _is_category(bound: Bound, name: str) -> bool:
    dtype = bound.cells[name].dtype if name in bound.cells else bound.dtypes[name]
    text = str(dtype.base_type()) in ("String", "Categorical", "Enum", "Boolean")
    return text or any(rule.kind == "isin" and rule.column == name for rule in bound.rules)


def _too_far(distance: Distance | None, measure: str, bound: float, reference: str) -> str | None:
    if distance is None:
        return f"cannot be compared with {reference}: no values, personal, or of another kind there or here"
    if distance.value <= bound:
        return None
    error = f" (± {distance.bound:.2g})" if distance.bound else ""
    return f"{_MEASURES[measure]} {distance.value:.3g}{error} from {reference}, more than {bound:g}"


def _slice(
    table: ibis.Table,
    schema: Any,
    rules: Rules,
    bound: Bound,
    slice_: str | Slice,
    environment: str | None,
    known: set[tuple[str | None, str]],
) -> Iterator[Finding]:
    by = _by_column(schema, bound, slice_) if isinstance(slice_, str) else slice_
    counted = bound.table.group_by(by.expression(_columns(bound)).name("value")).aggregate(rows=bound.table.count())
    parts = fetch(counted.order_by([counted["rows"].desc(), counted["value"]]).limit(_MAX_SLICES + 1))
    if len(parts) > _MAX_SLICES:
        raise PreconditionError(f"slice by {by.name}: more than {_MAX_SLICES} values; use an expression with fewer")
    # What is about the batch as a whole has no meaning in a part of it.
    inner = replace(rules, rules=tuple(r for r in rules.rules if r.code not in ("duplicates", "row_count")))
    for number, part in enumerate(parts, 1):
        if part["rows"] < _LEAST_ROWS:
            continue
        value = part["value"]
        divided = by.expression(_columns(bound))
        rows = bound.table.filter(divided.isnull() if value is None else divided == value)
        report, _ = run_rules(rows.select(*bound.dtypes), inner, environment=environment, part_of=table)
        shown = _label(bound, slice_, value)
        label = f"{by.name}, part {number}" if shown is None else f"{by.name}={shown}"
        for finding in report.findings:
            if (finding.column, finding.rule) not in known:
                said = f"slice {label} ({report.rows} rows): {finding.sentence}"
                yield replace(finding, rule=f"{finding.rule} in slice {label}", sentence=said)


def _by_column(schema: Any, bound: Bound, name: str) -> Slice:
    if name not in bound.cells and name not in bound.dtypes:
        raise PreconditionError("slice: no such column in the table")
    if _settings(schema, name).get("personal"):
        raise PreconditionError("slice: the column is personal, and its values would stand in findings")
    return Slice(name, lambda columns: columns[name])


def _columns(bound: Bound) -> dict[str, ibis.Value]:
    return {name: bound.table[bound.keys.get(name, name)] for name in bound.names}


def _label(bound: Bound, slice_: str | Slice, value: Any) -> str | None:
    """Name a slice by its value only where that tells nothing of the data: the contract has it, or it is a boolean."""
    if value is None:
        return "missing"
    if isinstance(value, bool):
        return str(value).lower()
    domains = [
        rule.parameters["allowed_values"] for rule in bound.rules if (rule.kind, rule.column) == ("isin", slice_)
    ]
    return repr(value) if any(value in values for values in domains) else None
