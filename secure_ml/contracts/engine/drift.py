"""Anomalies of a batch: what its contract says of it alone, beside other data, and of parts of it.

*Drift* is the distance from the previous batch, *skew* that of serving data from the training data. A column takes part
if its metadata for secure-ml names a threshold: `drift=0.1`, `skew=0.1`. Text, booleans and columns with a domain
(`isin`) are compared by L-infinity, the largest difference of a value's share; other columns by the Jensen-Shannon
divergence in bits, over the deciles of the reference. What cannot be compared is a finding, never a silent pass.

The metadata of the schema may bound how many times the rows of the previous batch there are: `rows_ratio=(0.5, 2)`.

`engine.slices` validates parts of a batch.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from secure_ml.contracts.engine.binding import BoundContract
from secure_ml.contracts.engine.declared_profiles import profile_as_declared, profile_columns
from secure_ml.contracts.findings import Finding, Report, in_order
from secure_ml.contracts.rules import Rules, compile_rules
from secure_ml.profiles.distances import Distance, Measure, compare_profiles
from secure_ml.profiles.document import Profile, parse
from secure_ml.safe_files import read_file
from secure_ml.tables.data_files import open_table

__all__ = ["load_reference", "needs_previous", "with_comparisons"]

Comparator: TypeAlias = Literal["drift", "skew"]

_MAX_PROFILE_BYTES = 64 << 20
_REFERENCES: dict[Comparator, str] = {"drift": "the previous batch", "skew": "the training data"}
_MEASURES = {"l_infinity": "L-infinity distance", "jensen_shannon": "Jensen-Shannon divergence"}


def with_comparisons(
    report: Report,
    bound: BoundContract,
    rules: Rules,
    *,
    previous: Profile | None = None,
    training: Profile | None = None,
) -> Report:
    """Add what lies too far from other data.

    Args:
        report: What the contract found.
        bound: The contract, bound to the table.
        rules: The same, as it was compiled.
        previous: What drift, and the number of rows, are measured from.
        training: What skew is measured from.
    """
    found = list(report.findings)
    if previous is not None:
        found += _rows(rules, previous.rows, report.rows)
        found += _distances(bound, previous, "drift", report.rows)
    if training is not None:
        found += _distances(bound, training, "skew", report.rows)
    return replace(report, findings=in_order(found))


def needs_previous(contract: Any) -> bool:
    """Whether a contract, a pandera schema, bounds anything by the previous batch."""
    rules = compile_rules(contract)
    return rules.rows_ratio is not None or any("drift" in column.settings for column in rules.columns)


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


def _rows(rules: Rules, before: int, rows: int) -> Iterator[Finding]:
    """Hold the number of rows against the previous batch's; of none there is no multiple, and that is a finding too."""
    if rules.rows_ratio is None:
        return
    least, most = rules.rows_ratio
    if before and least * before <= rows <= most * before:
        return
    times = f"{rows / before:.3g} times" if before else "no multiple of"
    said = f"table: {rows} rows, {times} the {before} of the previous batch, expected {least:g} to {most:g} times"
    yield Finding(None, f"rows_ratio({least:g}, {most:g})", rows, rows, rules.tier, said, "row_count", "compiled")


def _distances(bound: BoundContract, reference: Profile, code: Comparator, rows: int) -> Iterator[Finding]:
    asked = {column.name: column for column in bound.declared if code in column.settings}
    if not asked:
        return
    current = profile_columns(bound, list(asked))
    measured = {(found.column, found.measure): found for found in compare_profiles(reference, current)}
    for name, column in asked.items():
        most = column.settings[code]
        measure: Measure = "l_infinity" if _is_category(bound, name) else "jensen_shannon"
        distance = measured.get((name, measure))
        said = _too_far(distance, measure, most, _REFERENCES[code])
        if said is not None:
            rule = f"{code}({measure}, {most:g})"
            yield Finding(name, rule, rows, rows, column.tier, f"{name}: {said}", code, "compiled")


def _is_category(bound: BoundContract, name: str) -> bool:
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
