"""The contract's feature rules for each request row, compiled once: a document in the signed model folder.

The service holds every row of a request against them in vectorised NumPy; it needs neither pandera nor the model's
own Python file.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secure_ml.contracts.rules import Rule, compile_rules
from secure_ml.digests import Json
from secure_ml.errors import MalformedError, PreconditionError
from secure_ml.spec import GuardedModel

__all__ = ["RequestRules", "Violation", "request_rules"]

Values = NDArray[np.float64]
_COMPARE: dict[str, tuple[str, Callable[[Values, float], NDArray[np.bool_]]]] = {
    "ge": ("below", np.less),
    "gt": ("not above", np.less_equal),
    "le": ("above", np.greater),
    "lt": ("not below", np.greater_equal),
}
_BUILT_IN = {
    "greater_than_or_equal_to": ("ge", "min_value"),
    "greater_than": ("gt", "min_value"),
    "less_than_or_equal_to": ("le", "max_value"),
    "less_than": ("lt", "max_value"),
}


def request_rules(model: GuardedModel) -> dict[str, Json]:
    """Compile the blocking rules of the feature columns.

    Raises:
        PreconditionError: A blocking check cannot be held against one row; it is named.
    """
    contract = compile_rules(model.schema)
    columns: list[Json] = []
    for name in model.features:
        rules: list[Json] = []
        nullable = True
        for rule in contract.of(name):
            if rule.kind == "not_nullable":
                nullable = rule.tier != "block"
            elif rule.check is not None and rule.tier == "block" and rule.kind != "null_fraction_at_most":
                rules += _compile(name, rule)
        columns.append({"name": name, "nullable": nullable, "rules": rules})
    return {"columns": columns}


def _compile(column: str, rule: Rule) -> list[Json]:
    figures = rule.parameters
    numbers = [
        *figures.get("allowed_values", ()),
        *(figures[key] for key in ("min_value", "max_value") if key in figures),
    ]
    if rule.why is None and rule.ignore_na and all(map(_is_number, numbers)):
        if rule.kind in _BUILT_IN:
            operator, key = _BUILT_IN[rule.kind]
            return [[operator, float(figures[key])]]
        if rule.kind == "in_range":
            return [
                ["ge" if figures["include_min"] else "gt", float(figures["min_value"])],
                ["le" if figures["include_max"] else "lt", float(figures["max_value"])],
            ]
        if rule.kind == "isin":
            return [["isin", [*sorted(float(value) for value in figures["allowed_values"])]]]
    raise PreconditionError(
        f"contract of {column}: check {rule.kind} cannot be held against one request row; use ge, gt, le, lt, in_range "
        "or isin with numbers, or raise_warning=True"
    )


def _is_number(value: Any) -> bool:
    """Whether a figure of a rule is one that a row of floats can be held against."""
    return isinstance(value, int | float | Decimal) and -sys.float_info.max <= value <= sys.float_info.max


@dataclass(frozen=True, slots=True)
class Violation:
    """One rule that one row breaks.

    Attributes:
        row: Counted from 0.
        column: The feature.
        sentence: Such as "chol: below 50"; never a value of the row.
    """

    row: int
    column: str
    sentence: str


@dataclass(frozen=True, slots=True)
class RequestRules:
    """Compiled rules. Made by `parse`."""

    names: tuple[str, ...]
    nullable: NDArray[np.bool_]
    rules: tuple[tuple[int, str, float | tuple[float, ...]], ...]

    @classmethod
    def parse(cls, document: Json) -> RequestRules:
        """Parse the document that `request_rules` made.

        Raises:
            MalformedError: Anything else.
        """
        names: list[str] = []
        nullable: list[bool] = []
        rules: list[tuple[int, str, float | tuple[float, ...]]] = []
        match document:
            case {"columns": list(columns), **rest} if not rest:
                for index, column in enumerate(columns):
                    match column:
                        case {"name": str(name), "nullable": bool(null), "rules": list(given)}:
                            names.append(name)
                            nullable.append(null)
                            rules += [(index, *_parse_rule(rule)) for rule in given]
                        case _:
                            raise MalformedError("request rules: a column is not {name, nullable, rules}")
                return cls(tuple(names), np.asarray(nullable, dtype=np.bool_), tuple(rules))
        raise MalformedError("request rules: expected one object with columns")

    def check(self, x: Values) -> list[Violation]:
        """Return what the rows of `x` break.

        Args:
            x: Shape (n, d), NaN where missing.
        """
        missing = np.isnan(x)
        found: list[Violation] = []

        def note(bad: NDArray[np.bool_], column: int, said: str) -> None:
            sentence = f"{self.names[column]}: {said}"
            found.extend(Violation(int(row), self.names[column], sentence) for row in np.flatnonzero(bad))

        for column in np.flatnonzero((missing & ~self.nullable).any(axis=0)).tolist():
            note(missing[:, column], column, "missing")
        for column in np.flatnonzero(np.isinf(x).any(axis=0)).tolist():
            note(np.isinf(x[:, column]), column, "not a finite number")
        for column, operator, bound in self.rules:
            values = x[:, column]
            if isinstance(bound, tuple):
                bad, said = ~np.isin(values, bound), f"outside the {len(bound)} allowed values"
            else:
                words, compare = _COMPARE[operator]
                bad, said = compare(values, bound), f"{words} {bound:g}"
            bad &= np.isfinite(values)
            if bad.any():
                note(bad, column, said)
        return sorted(found, key=lambda violation: violation.row)


def _parse_rule(rule: Json) -> tuple[str, float | tuple[float, ...]]:
    match rule:
        case ["ge" | "gt" | "le" | "lt" as operator, float() | int() as bound] if _is_number(bound):
            return operator, float(bound)
        case ["isin", list(values)] if values and all(map(_is_number, values)):
            return "isin", tuple(float(value) for value in values if isinstance(value, float | int))
    raise MalformedError("request rules: a rule is not [ge|gt|le|lt, number] or [isin, numbers]")
