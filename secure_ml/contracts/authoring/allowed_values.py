"""What rules of one kind allow together, so that two contracts can be compared: intervals, values, figures.

What is no built-in rule is known by `check_identity`, never by its name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from secure_ml.contracts.authoring.check_identity import identity, same_value
from secure_ml.contracts.rules import Rule

__all__ = ["Allowed", "Interval", "above", "allowed_by", "below"]


@dataclass(frozen=True, slots=True)
class Interval:
    """What lies between two bounds; None is no bound, and an open end does not belong to it."""

    low: Any = None
    high: Any = None
    low_open: bool = False
    high_open: bool = False

    def __and__(self, other: Interval) -> Interval:
        """Return what lies in both."""
        low, low_open = (other.low, other.low_open) if above(other, self) else (self.low, self.low_open)
        high, high_open = (other.high, other.high_open) if below(other, self) else (self.high, self.high_open)
        return Interval(low, high, low_open, high_open)

    @property
    def empty(self) -> bool:
        """Whether nothing lies between the bounds."""
        if self.low is None or self.high is None:
            return False
        return bool(self.low > self.high) or (self.low == self.high and (self.low_open or self.high_open))

    def __str__(self) -> str:
        """Write it as mathematicians do, `[0, 9)`."""
        if self == Interval():
            return "anything"
        low = "(..." if self.low is None else f"{'(['[not self.low_open]}{self.low!r}"
        high = "...)" if self.high is None else f"{self.high!r}{')]'[not self.high_open]}"
        return f"{low}, {high}"


def above(one: Interval, other: Interval) -> bool:
    """Whether the lower end of `one` is stricter."""
    if one.low is None or other.low is None:
        return one.low is not None
    return bool(one.low > other.low) or (one.low == other.low and one.low_open and not other.low_open)


def below(one: Interval, other: Interval) -> bool:
    """Whether the upper end of `one` is stricter."""
    if one.high is None or other.high is None:
        return one.high is not None
    return bool(one.high < other.high) or (one.high == other.high and one.high_open and not other.high_open)


@dataclass(frozen=True, slots=True)
class Allowed:
    """All that the checks of one column, or of the table, allow together."""

    range: Interval = Interval()
    length: Interval = Interval()
    allowed: frozenset[Any] | None = None
    forbidden: frozenset[Any] = frozenset()
    figures: Mapping[str, Interval] = field(default_factory=dict)
    vocabularies: frozenset[tuple[frozenset[Any], float]] = frozenset()  # words, and the share that may be others
    others: tuple[tuple[str, object], ...] = ()  # name and identity of each: two rules may have one name

    def add(self, rule: Rule) -> Allowed:
        """Return what is allowed once this rule holds too."""
        from secure_ml.contracts.checks import ready

        given = rule.parameters
        if rule.why is not None:
            return self._other(rule.name, identity(rule.check))
        if not rule.ignore_na and ready(rule.check) is None:
            return self._other(f"{rule.kind} of missing cells", rule.kind).add(replace(rule, ignore_na=True))
        if (within := _range_of(rule)) is not None:
            return replace(self, range=self.range & within)
        if (bounded := _figure_of(rule)) is not None:
            name, figure = bounded
            return replace(self, figures={**self.figures, name: self.figures.get(name, Interval()) & figure})
        match rule.kind:
            case "equal_to":
                return self._allow([given["value"]])
            case "isin":
                return self._allow(given["allowed_values"])
            case "not_equal_to":
                return replace(self, forbidden=self.forbidden | {given["value"]})
            case "notin":
                return replace(self, forbidden=self.forbidden | frozenset(given["forbidden_values"]))
            case "str_length":
                exact = given.get("exact_value")
                low, high = (exact, exact) if exact is not None else (given["min_value"], given["max_value"])
                return replace(self, length=self.length & Interval(low, high))
            case "out_of_vocabulary_at_most":
                known = (frozenset(given["vocabulary"]), given["fraction"])
                return replace(self, vocabularies=self.vocabularies | {known})
        return self._other(rule.name, (rule.kind, same_value(dict(given))))

    def _other(self, name: str, identity: object) -> Allowed:
        return replace(self, others=(*self.others, (name, identity)))

    def _allow(self, values: Iterable[Any]) -> Allowed:
        given = frozenset(values)
        return replace(self, allowed=given if self.allowed is None else self.allowed & given)


def _range_of(rule: Rule) -> Interval | None:
    """Return the values that a comparison with figures allows, None for any other rule."""
    given = rule.parameters
    match rule.kind:
        case "greater_than" | "greater_than_or_equal_to" as kind:
            return Interval(low=given["min_value"], low_open=kind == "greater_than")
        case "less_than" | "less_than_or_equal_to" as kind:
            return Interval(high=given["max_value"], high_open=kind == "less_than")
        case "in_range":
            return Interval(given["min_value"], given["max_value"], not given["include_min"], not given["include_max"])
    return None


def _figure_of(rule: Rule) -> tuple[str, Interval] | None:
    """Return the name and the bounds of the figure of a whole column or table that a rule is about, None for others."""
    given = rule.parameters
    match rule.kind:
        case "null_fraction_at_most":
            return rule.kind, Interval(high=given["fraction"])
        case "distinct_at_least":
            return "different values", Interval(low=given["count"])
        case "distinct_at_most":
            return "different values", Interval(high=given["count"])
        case "fresh_within":
            return "age_s", Interval(high=given["age_s"])
    if {"low", "high"} <= given.keys():
        of = [_unordered(value) for key, value in given.items() if key not in ("low", "high")]
        return f"{rule.kind}({', '.join(of)})" if of else rule.kind, Interval(given["low"], given["high"])
    return None


def _unordered(value: Any) -> str:
    return ", ".join(sorted(set(map(repr, value)))) if isinstance(value, tuple) else repr(value)


def allowed_by(rules: Iterable[Rule]) -> Allowed:
    """Return what rules of one column, or of the table, allow together."""
    allowed = Allowed()
    for rule in rules:
        allowed = allowed.add(rule)
    return allowed
