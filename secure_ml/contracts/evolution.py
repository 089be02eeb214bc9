"""How one contract differs from another: what became stricter, looser or incompatible, per column and rule.

*Looser*: every batch that satisfied the old rule satisfies the new one. *Stricter*: some that satisfied the old one are
refused, or it cannot be told that none is. *Incompatible*: no batch with a value in that column satisfies both.

Rules of one kind are compared by what all of them together allow, so that `ge(0)` and `le(9)` are the same as
`in_range(0, 9)`. A rule that only warns is compared by what it warns about.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import CodeType
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pandera.polars import DataFrameSchema

__all__ = ["Change", "diff_contracts"]

Kind = Literal["incompatible", "stricter", "looser"]
_ORDER: tuple[Kind, ...] = ("incompatible", "stricter", "looser")
_BOUND = re.compile(r"(?P<stem>\w+)_at_(?P<side>most|least)\((?P<rest>.*?)(?P<bound>-?[\d.]+(?:e-?\d+)?)\)", re.DOTALL)
_MAX_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between two contracts.

    Attributes:
        column: The column, None for a rule of the whole table.
        rule: What changed, such as `range`, `nullable` or a check's name.
        kind: `incompatible`, `stricter` or `looser`.
        sentence: For people; holds bounds and allowed values of the contracts, never of data.
    """

    column: str | None
    rule: str
    kind: Kind
    sentence: str


@dataclass(frozen=True, slots=True)
class _Interval:
    """What lies between two bounds; None is no bound, and an open end does not belong to it."""

    low: Any = None
    high: Any = None
    low_open: bool = False
    high_open: bool = False

    def __and__(self, other: _Interval) -> _Interval:
        low, low_open = (other.low, other.low_open) if _above(other, self) else (self.low, self.low_open)
        high, high_open = (other.high, other.high_open) if _below(other, self) else (self.high, self.high_open)
        return _Interval(low, high, low_open, high_open)

    @property
    def empty(self) -> bool:
        if self.low is None or self.high is None:
            return False
        return bool(self.low > self.high) or (self.low == self.high and (self.low_open or self.high_open))

    def __str__(self) -> str:
        if self == _Interval():
            return "anything"
        low = "(..." if self.low is None else f"{'(['[not self.low_open]}{self.low!r}"
        high = "...)" if self.high is None else f"{self.high!r}{')]'[not self.high_open]}"
        return f"{low}, {high}"


def _above(one: _Interval, other: _Interval) -> bool:
    """Whether the lower end of `one` is stricter."""
    if one.low is None or other.low is None:
        return one.low is not None
    return bool(one.low > other.low) or (one.low == other.low and one.low_open and not other.low_open)


def _below(one: _Interval, other: _Interval) -> bool:
    """Whether the upper end of `one` is stricter."""
    if one.high is None or other.high is None:
        return one.high is not None
    return bool(one.high < other.high) or (one.high == other.high and one.high_open and not other.high_open)


@dataclass(frozen=True, slots=True)
class _Rules:
    """All that the checks of one column allow together."""

    range: _Interval = _Interval()
    length: _Interval = _Interval()
    allowed: frozenset[Any] | None = None
    forbidden: frozenset[Any] = frozenset()
    bounds: Mapping[str, _Interval] = field(default_factory=dict)
    others: Mapping[str, object] = field(default_factory=dict)

    def add(self, check: Any) -> _Rules:
        given = check.statistics or {}
        match check.name:
            case "equal_to":
                return self._allow([given["value"]])
            case "isin":
                return self._allow(given["allowed_values"])
            case "not_equal_to":
                return replace(self, forbidden=self.forbidden | {given["value"]})
            case "notin":
                return replace(self, forbidden=self.forbidden | frozenset(given["forbidden_values"]))
            case "greater_than" | "greater_than_or_equal_to" as name:
                end = _Interval(low=given["min_value"], low_open=name == "greater_than")
                return replace(self, range=self.range & end)
            case "less_than" | "less_than_or_equal_to" as name:
                end = _Interval(high=given["max_value"], high_open=name == "less_than")
                return replace(self, range=self.range & end)
            case "in_range":
                ends = (not given["include_min"], not given["include_max"])
                return replace(self, range=self.range & _Interval(given["min_value"], given["max_value"], *ends))
            case "str_length":
                exact = given.get("exact_value")
                low, high = (exact, exact) if exact is not None else (given["min_value"], given["max_value"])
                return replace(self, length=self.length & _Interval(low, high))
        name = _name_of(check)
        if bound := _BOUND.fullmatch(name):
            stem = f"{bound['stem']}_at_{bound['side']}({bound['rest']})"
            figure = float(bound["bound"])
            end = _Interval(high=figure) if bound["side"] == "most" else _Interval(low=figure)
            return replace(self, bounds={**self.bounds, stem: self.bounds.get(stem, _Interval()) & end})
        return replace(self, others={**self.others, name: _identity(check)})

    def _allow(self, values: Iterable[Any]) -> _Rules:
        given = frozenset(values)
        return replace(self, allowed=given if self.allowed is None else self.allowed & given)


def _name_of(check: Any) -> str:
    name = str(check.name)
    given = check.statistics or {}
    return f"{name}({', '.join(f'{value!r}' for value in given.values())})" if given and "(" not in name else name


def _identity(check: Any) -> object:
    """What must be equal for two Python checks to be the same rule: code, constants and what it closed over."""
    code = getattr(check._check_fn, "__code__", None)
    cells = getattr(check._check_fn, "__closure__", None) or ()
    held = [repr(cell.cell_contents) for cell in cells if isinstance(cell.cell_contents, str | int | float | tuple)]
    return (_shape(code) if code is not None else None, tuple(held), repr(check.statistics), check.ignore_na)


def _shape(code: CodeType) -> object:
    inner = [_shape(part) if isinstance(part, CodeType) else repr(part) for part in code.co_consts]
    return (code.co_code, code.co_names, tuple(inner))


def diff_contracts(old: DataFrameSchema, new: DataFrameSchema) -> tuple[Change, ...]:
    """Compare two pandera schemas.

    Returns:
        Incompatible changes first, then stricter, then looser; each by the old contract's order of columns.
    """
    changes: list[Change] = []
    for name in dict.fromkeys([*old.columns, *new.columns]):
        before, after = old.columns.get(name), new.columns.get(name)
        if before is None:
            changes.append(_added(name, after, old))
        elif after is None:
            changes.append(_removed(name, before, new))
        else:
            changes += _column(name, before, after, coerces=bool(after.coerce or new.coerce))
    changes += _table(old, new)
    return tuple(sorted(changes, key=lambda change: _ORDER.index(change.kind)))


def _added(name: str, column: Any, old: DataFrameSchema) -> Change:
    if not column.required:
        return _change(name, "column", "looser" if old.strict is True else "stricter", "is new and optional")
    kind: Kind = "incompatible" if old.strict is True else "stricter"
    return _change(name, "column", kind, "is new and required")


def _removed(name: str, column: Any, new: DataFrameSchema) -> Change:
    if new.strict is not True:
        return _change(name, "column", "looser", "is no longer in the contract, and may hold anything")
    kind: Kind = "incompatible" if column.required else "stricter"
    return _change(name, "column", kind, "is no longer in the contract, which allows no other columns")


def _column(name: str, old: Any, new: Any, *, coerces: bool) -> list[Change]:
    changes = [
        *_type(name, old.dtype, new.dtype, coerces=coerces),
        *_flag(name, "nullable", old.nullable, new.nullable, loose=True),
        *_flag(name, "unique", old.unique, new.unique, loose=False),
        *_flag(name, "required", old.required, new.required, loose=False),
        *_flag(name, "coerce", old.coerce, new.coerce, loose=True),
        *_checks(name, old.checks, new.checks),
    ]
    before, after = _settings(old), _settings(new)
    for rule in ("drift", "skew"):
        ends = [_Interval(high=settings.get(rule)) for settings in (before, after)]
        changes += _interval(name, rule, *ends)
    tiers = [settings.get("tier", "block") for settings in (before, after)]
    if tiers[0] != tiers[1]:
        changes.append(_change(name, "tier", "stricter" if tiers[1] == "block" else "looser", _was(*tiers)))
    places = [settings.get("environments") for settings in (before, after)]
    if _set(places[0]) != _set(places[1]):
        said = [", ".join(map(str, place)) if place is not None else "every environment" for place in places]
        changes.append(_change(name, "environments", "incompatible", f"belongs to {said[1]}, was {said[0]}"))
    return changes


def _set(values: Iterable[str] | None) -> frozenset[str] | None:
    return frozenset(values) if values is not None else None


def _settings(part: Any) -> Mapping[str, Any]:
    settings: Mapping[str, Any] = (part.metadata or {}).get("secure_ml", {})
    return settings


def _table(old: DataFrameSchema, new: DataFrameSchema) -> list[Change]:
    changes = [
        *_flag(None, "strict", old.strict is True, new.strict is True, loose=False),
        *_flag(None, "ordered", old.ordered, new.ordered, loose=False),
        *_checks(None, old.checks, new.checks),
    ]
    before, after = _set(old.unique), _set(new.unique)
    if before != after:
        looser = after is None or (before is not None and after > before)
        said = [", ".join(sorted(map(str, keys))) if keys else "nothing" for keys in (before, after)]
        sentence = f"must be unique together: {said[1]}; was {said[0]}"
        changes.append(_change(None, "unique", "looser" if looser else "stricter", sentence))
    return changes


def _type(name: str, old: Any, new: Any, *, coerces: bool) -> list[Change]:
    if old == new:
        return []
    if new is None:
        return [_change(name, "type", "looser", f"may be of any type, was {old}")]
    if old is None:
        return [_change(name, "type", "stricter", f"must be {new}, was of any type")]
    kind: Kind = "stricter" if coerces else "incompatible"
    return [_change(name, "type", kind, f"must be {new}, was {old}{', and is cast' if coerces else ''}")]


def _flag(name: str | None, rule: str, old: Any, new: Any, *, loose: bool) -> list[Change]:
    if bool(old) == bool(new):
        return []
    return [_change(name, rule, "looser" if bool(new) is loose else "stricter", _was(old, new))]


def _was(old: Any, new: Any) -> str:
    return f"is {new}, was {old}"


def _checks(name: str | None, old: Iterable[Any], new: Iterable[Any]) -> list[Change]:
    """Compare what refuses; then, for rules where that is unchanged, what warns."""
    sides = [list(old), list(new)]
    blocking = [_all([check for check in side if not check.raise_warning]) for side in sides]
    changes = _rules(name, *blocking)
    settled = {change.rule for change in changes}
    said = [
        replace(change, sentence=f"{change.sentence} (warns)")
        for change in _rules(name, *(_all(side) for side in sides))
        if change.rule not in settled
    ]
    return [*changes, *said]


def _all(checks: Iterable[Any]) -> _Rules:
    rules = _Rules()
    for check in checks:
        rules = rules.add(check)
    return rules


def _rules(name: str | None, old: _Rules, new: _Rules) -> list[Change]:
    changes = [
        *_interval(name, "range", old.range, new.range),
        *_interval(name, "length", old.length, new.length),
        *_values(name, "allowed values", old.allowed, new.allowed, allow=True),
        *_values(name, "forbidden values", old.forbidden, new.forbidden, allow=False),
    ]
    for stem in dict.fromkeys([*old.bounds, *new.bounds]):
        changes += _interval(name, stem, old.bounds.get(stem, _Interval()), new.bounds.get(stem, _Interval()))
    for rule in dict.fromkeys([*old.others, *new.others]):
        if rule not in new.others:
            changes.append(_change(name, rule, "looser", "is no longer checked"))
        elif rule not in old.others:
            changes.append(_change(name, rule, "stricter", "is checked now"))
        elif old.others[rule] != new.others[rule]:
            changes.append(_change(name, rule, "stricter", "is another check now, and the two cannot be compared"))
    return changes


def _interval(name: str | None, rule: str, old: _Interval, new: _Interval) -> list[Change]:
    if old == new:
        return []
    sentence = f"is {new}, was {old}"
    try:
        if (old & new).empty:
            return [_change(name, rule, "incompatible", sentence)]
        stricter = _above(new, old) or _below(new, old)
        looser = _above(old, new) or _below(old, new)
    except TypeError:
        return [_change(name, rule, "incompatible", f"{sentence}, of another type")]
    return _directions(name, rule, sentence, stricter=stricter, looser=looser)


def _values(
    name: str | None, rule: str, old: frozenset[Any] | None, new: frozenset[Any] | None, *, allow: bool
) -> list[Change]:
    if old == new:
        return []
    if old is None or new is None:
        said = "any" if new is None else _some(new)
        was = "any" if old is None else f"{len(old)} values"
        return [_change(name, rule, "looser" if new is None else "stricter", f"are {said}, were {was}")]
    more, fewer = new - old, old - new
    parts = [f"{word} {_some(values)}" for word, values in (("gained", more), ("lost", fewer)) if values]
    sentence = " and ".join(parts)
    if allow and not new & old:
        return [_change(name, rule, "incompatible", f"{sentence}: none is left")]
    stricter, looser = (fewer, more) if allow else (more, fewer)
    return _directions(name, rule, sentence, stricter=bool(stricter), looser=bool(looser))


def _some(values: Iterable[Any]) -> str:
    shown = sorted(map(repr, values))
    more = f" and {len(shown) - _MAX_SHOWN} more" if len(shown) > _MAX_SHOWN else ""
    return ", ".join(shown[:_MAX_SHOWN]) + more


def _directions(name: str | None, rule: str, sentence: str, *, stricter: bool, looser: bool) -> list[Change]:
    kinds: list[Kind] = [kind for kind, holds in (("stricter", stricter), ("looser", looser)) if holds]  # type: ignore[misc]
    return [_change(name, rule, kind, sentence) for kind in kinds]


def _change(column: str | None, rule: str, kind: Kind, said: str) -> Change:
    where = "table" if column is None else column if column.isprintable() and column else repr(column)
    return Change(column, rule, kind, f"{where}: {rule} {said}")
