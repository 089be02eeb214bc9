"""How one contract differs from another: what became stricter, looser or incompatible, per column and rule.

*Looser*: every batch that satisfied the old rule satisfies the new one. *Stricter*: some that satisfied the old one are
refused, or it cannot be told that none is. *Incompatible*: no batch with a value in that column satisfies both.

Rules of one kind are compared by what all of them together allow, so that `ge(0)` and `le(9)` are the same as
`in_range(0, 9)`. A rule that only warns is compared by what it warns about.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

from secure_ml.contracts.allowing import Allowed, Interval, above, allowed_by, below
from secure_ml.contracts.rules import METADATA_KEY, ContractColumn, Rule, Rules, compile_rules, to_schema

__all__ = ["Change", "diff_contracts"]

Kind = Literal["incompatible", "stricter", "looser"]
_ORDER: tuple[Kind, ...] = ("incompatible", "stricter", "looser")
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


def diff_contracts(old: Any, new: Any) -> tuple[Change, ...]:
    """Compare two contracts, each a pandera schema for Polars or pandas.

    Returns:
        Incompatible changes first, then stricter, then looser; each by the old contract's order of columns.

    Raises:
        PreconditionError: One of them is no contract.
    """
    schemas = to_schema(old), to_schema(new)
    before, after = map(compile_rules, schemas)
    columns = [{column.name: column for column in rules.columns} for rules in (before, after)]
    changes: list[Change] = []
    for name in dict.fromkeys([*columns[0], *columns[1]]):
        was, is_ = columns[0].get(name), columns[1].get(name)
        if was is None:
            changes.append(_added(name, columns[1][name], before))
        elif is_ is None:
            changes.append(_removed(name, was, after))
        else:
            changes += _column(was, is_, before.of(name), after.of(name))
            changes += _settings_changed(name, was.schema, is_.schema)
    changes += _table(before, after)
    return tuple(sorted(changes, key=lambda change: _ORDER.index(change.kind)))


def _added(name: str, column: ContractColumn, old: Rules) -> Change:
    if not column.required:
        return _change(name, "column", "looser" if old.strict is True else "stricter", "is new and optional")
    kind: Kind = "incompatible" if old.strict is True else "stricter"
    return _change(name, "column", kind, "is new and required")


def _removed(name: str, column: ContractColumn, new: Rules) -> Change:
    if new.strict is not True:
        return _change(name, "column", "looser", "is no longer in the contract, and may hold anything")
    kind: Kind = "incompatible" if column.required else "stricter"
    return _change(name, "column", kind, "is no longer in the contract, which allows no other columns")


def _column(old: ContractColumn, new: ContractColumn, was: tuple[Rule, ...], is_: tuple[Rule, ...]) -> list[Change]:
    name = old.name
    kinds = [{rule.kind for rule in rules} for rules in (was, is_)]
    changes = [
        *_type(name, old.dtype, new.dtype, coerces=new.coerce),
        *_flag(name, "nullable", *("not_nullable" not in found for found in kinds), loose=True),
        *_flag(name, "unique", *("field_uniqueness" in found for found in kinds), loose=False),
        *_flag(name, "required", old.required, new.required, loose=False),
        *_flag(name, "coerce", old.coerce, new.coerce, loose=True),
        *_checks(name, was, is_),
    ]
    if repr(old.default) != repr(new.default):
        kind: Kind = "looser" if old.default is None else "stricter" if new.default is None else "incompatible"
        changes.append(_change(name, "default", kind, _was(repr(old.default), repr(new.default))))
    if old.regex != new.regex:
        changes.append(_change(name, "regex", "incompatible", _was(old.regex, new.regex)))
    if frozenset(old.environments) != frozenset(new.environments):
        said = [", ".join(column.environments) or "every environment" for column in (old, new)]
        changes.append(_change(name, "environments", "incompatible", f"belongs to {said[1]}, was {said[0]}"))
    return changes


def _settings_changed(name: str, old: Any, new: Any) -> list[Change]:
    before, after = ((part.metadata or {}).get(METADATA_KEY, {}) for part in (old, new))
    changes: list[Change] = []
    for rule in ("drift", "skew"):
        changes += _interval(name, rule, Interval(high=before.get(rule)), Interval(high=after.get(rule)))
    tiers = before.get("tier", "block"), after.get("tier", "block")
    if tiers[0] != tiers[1]:
        changes.append(_change(name, "tier", "stricter" if tiers[1] == "block" else "looser", _was(*tiers)))
    return changes + _flag(name, "personal", *(bool(side.get("personal")) for side in (before, after)), loose=True)


def _table(was: Rules, is_: Rules) -> list[Change]:
    changes = [
        *_flag(None, "tier only warns", was.tier == "warn", is_.tier == "warn", loose=True),
        *_flag(None, "strict", was.strict is True, is_.strict is True, loose=False),
        *_flag(None, "ordered", was.ordered, is_.ordered, loose=False),
        *_checks(None, was.of(None), is_.of(None)),
        *_interval(None, "rows_ratio", *(Interval(*(rules.rows_ratio or ())) for rules in (was, is_))),
        *_values(None, "slices", frozenset(was.slices), frozenset(is_.slices), allow=False),
    ]
    before, after = (
        {frozenset(rule.parameters["columns"]) for rule in rules.of(None) if rule.kind == "multiple_fields_uniqueness"}
        for rules in (was, is_)
    )
    said = [
        "; ".join(", ".join(sorted(keys)) for keys in sorted(side, key=sorted)) or "nothing" for side in (after, before)
    ]
    sentence = f"must be unique together: {said[0]}; was {said[1]}"
    # What is unique in some columns is unique in those and more.
    lost, won = (any(not any(b <= a for b in new) for a in old) for old, new in ((before, after), (after, before)))
    return changes + _directions(None, "unique", sentence, stricter=won, looser=lost)


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


def _checks(name: str | None, old: Iterable[Rule], new: Iterable[Rule]) -> list[Change]:
    """Compare what refuses; then, for rules where that is unchanged, what warns."""
    sides = [[rule for rule in side if rule.check is not None] for side in (old, new)]
    blocking = [allowed_by(rule for rule in side if not rule.check.raise_warning) for side in sides]
    changes = _compare(name, *blocking)
    settled = {change.rule for change in changes}
    said = [
        replace(change, sentence=f"{change.sentence} (warns)")
        for change in _compare(name, *(allowed_by(side) for side in sides))
        if change.rule not in settled
    ]
    return [*changes, *said]


def _compare(name: str | None, old: Allowed, new: Allowed) -> list[Change]:
    changes = [
        *_interval(name, "range", old.range, new.range),
        *_interval(name, "length", old.length, new.length),
        *_values(name, "allowed values", old.allowed, new.allowed, allow=True),
        *_values(name, "forbidden values", old.forbidden, new.forbidden, allow=False),
        *_values(name, "vocabulary", old.vocabulary, new.vocabulary, allow=True),
    ]
    for figure in dict.fromkeys([*old.figures, *new.figures]):
        changes += _interval(name, figure, *(side.figures.get(figure, Interval()) for side in (old, new)))
    gone, come = (Counter(_only(*pair)) for pair in ((old.others, new.others), (new.others, old.others)))
    both, said = gone & come, "is another check now, and the two cannot be compared"
    changes += [_change(name, rule, "looser", "is no longer checked") for rule in gone - both]
    changes += [_change(name, rule, "stricter", "is checked now") for rule in come - both]
    return changes + [_change(name, rule, "stricter", said) for rule in both]


def _only(some: Iterable[tuple[str, object]], others: Iterable[tuple[str, object]]) -> list[str]:
    """Return the names of the rules that only `some` holds, or holds more often."""
    names = {identity: name for name, identity in some}
    left = Counter(identity for _, identity in some) - Counter(identity for _, identity in others)
    return [names[identity] for identity in left.elements()]


def _interval(name: str | None, rule: str, old: Interval, new: Interval) -> list[Change]:
    if old == new:
        return []
    sentence = f"is {new}, was {old}"
    try:
        if (old & new).empty:
            return [_change(name, rule, "incompatible", sentence)]
        stricter = above(new, old) or below(new, old)
        looser = above(old, new) or below(old, new)
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
