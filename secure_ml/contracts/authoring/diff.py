"""How one contract differs from another: what became stricter, looser or incompatible, per column and rule.

*Looser*: every batch that satisfied the old rule satisfies the new one. *Stricter*: some that satisfied the old one are
refused, or it cannot be told that none is. *Incompatible*: no batch with a value in that column, from an environment
where one is named, satisfies both; a text file, whose cells have no type of their own, may. What is both stricter and
looser is said twice.

Rules of one kind are compared by what all of them together allow, so that `ge(0)` and `le(9)` are the same as
`in_range(0, 9)`. A rule that only warns is compared by what it warns about.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

from secure_ml.contracts.authoring.allowed_values import Allowed, Interval, above, allowed_by, below
from secure_ml.contracts.rules import ContractColumn, Rule, Rules, compile_rules, to_schema

__all__ = ["Change", "diff_contracts"]

Kind = Literal["incompatible", "stricter", "looser"]
_ORDER: tuple[Kind, ...] = ("incompatible", "stricter", "looser")
_MAX_VALUES = 8  # in one sentence
_ROUNDING = 1e-9


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
            changes += _one_has(name, columns[1][name], before, is_new=True)
        elif is_ is None:
            changes += _one_has(name, was, after, is_new=False)
        else:
            changes += _column(was, is_, before.of(name), after.of(name))
            changes += _settings_changed(was, is_)
    changes += _table(before, after)
    return tuple(sorted(changes, key=lambda change: _ORDER.index(change.kind)))


def _one_has(name: str, column: ContractColumn, other: Rules, *, is_new: bool) -> list[Change]:
    """Say what it means that only one of the contracts has a column; `other` is the one that has it not."""
    allowed = "which allows no other columns" if other.strict is True else "and may hold anything"
    said = f"is new and {'required' if column.required else 'optional'}"
    said = said if is_new else f"is no longer in the contract, {allowed}"
    may_match = any(side.regex for side in other.columns)
    always = column.required and not column.environments and not column.regex
    if other.strict is True and always and not may_match:
        return [_change(name, "column", "incompatible", said)]
    refuses = column.required or bool(column.environments) or other.strict is not True or may_match
    accepts = other.strict is True or may_match
    stricter, looser = (refuses, accepts) if is_new else (accepts, refuses)
    return _directions(name, "column", said, stricter=stricter, looser=looser)


def _column(old: ContractColumn, new: ContractColumn, was: tuple[Rule, ...], is_: tuple[Rule, ...]) -> list[Change]:
    name = old.name
    kinds = [{rule.kind for rule in rules} for rules in (was, is_)]
    changes = [
        *_type(name, old.dtype, new.dtype, coerces=old.coerce or new.coerce),
        *_flag(name, "nullable", *("not_nullable" not in found for found in kinds), loose=True),
        *_flag(name, "unique", *("field_uniqueness" in found for found in kinds), loose=False),
        *_flag(name, "required", old.required, new.required, loose=False),
        *_flag(name, "coerce", old.coerce, new.coerce, loose=True),
        *_checks(name, was, is_),
    ]
    if repr(old.default) != repr(new.default):
        # A missing cell is judged as the default, so only where none may be missing is it told what that changes.
        missing = [
            column.default is not None or "not_nullable" not in kind
            for column, kind in zip((old, new), kinds, strict=True)
        ]
        sentence = _was(repr(old.default), repr(new.default))
        changes += _directions(name, "default", sentence, stricter=missing[0], looser=missing[1])
    if old.regex != new.regex:  # a name is a pattern that matches itself, and more
        changes += _directions(name, "regex", _was(old.regex, new.regex), stricter=True, looser=True)
    return changes + _environments(old, new)


def _environments(old: ContractColumn, new: ContractColumn) -> list[Change]:
    """Compare where a column must be there; elsewhere it must be absent. None named is everywhere."""
    before, after = frozenset(old.environments), frozenset(new.environments)
    if before == after:
        return []
    said = [", ".join(column.environments) or "every environment" for column in (old, new)]
    sentence = f"belongs to {said[1]}, was {said[0]}"
    if before and after and not before & after:
        return [_change(old.name, "environments", "incompatible", sentence)]
    # What may be there everywhere, and need not, forbids nothing that a column of some environments allows.
    stricter, looser = (bool(side) or column.required for side, column in ((after, new), (before, old)))
    return _directions(old.name, "environments", sentence, stricter=stricter, looser=looser)


def _settings_changed(old: ContractColumn, new: ContractColumn) -> list[Change]:
    name = old.name
    before, after = old.settings, new.settings
    changes: list[Change] = []
    for key in ("drift", "skew"):
        changes += _interval(name, key, Interval(high=before.get(key)), Interval(high=after.get(key)))
    # Where neither says a tier of its own, a change is one of the table's and said there.
    if old.tier != new.tier and (before.get("tier") or after.get("tier")):
        kind: Kind = "stricter" if new.tier == "block" else "looser"
        changes.append(_change(name, "tier", kind, _was(old.tier, new.tier)))
    return changes + _flag(name, "personal", *(bool(side.get("personal")) for side in (before, after)), loose=True)


def _table(was: Rules, is_: Rules) -> list[Change]:
    changes = [
        *_flag(None, "tier only warns", was.tier == "warn", is_.tier == "warn", loose=True),
        *_flag(None, "strict", was.strict is True, is_.strict is True, loose=False),
        *_flag(None, "ordered", was.ordered, is_.ordered, loose=False),
        *_order(was, is_),
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


def _order(old: Rules, new: Rules) -> list[Change]:
    """Compare the order of the columns of both, where both ask for one."""
    sides = [{column.name: column for column in rules.columns} for rules in (old, new)]
    before, after = ([name for name in side if name in other] for side, other in (sides, sides[::-1]))
    if not (old.ordered and new.ordered) or before == after:
        return []
    # Columns that each batch has, wherever it comes from, cannot stand in both orders.
    always = {
        name
        for name in before
        if not any(side[name].regex or side[name].environments for side in sides)
        and any(side[name].required for side in sides)
    }
    sentence = f"is {_listed([*map(repr, after)])}, was {_listed([*map(repr, before)])}"
    if [name for name in before if name in always] != [name for name in after if name in always]:
        return [_change(None, "order", "incompatible", sentence)]
    return _directions(None, "order", sentence, stricter=True, looser=True)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MAX_VALUES} more" if len(names) > _MAX_VALUES else ""
    return ", ".join(names[:_MAX_VALUES]) + more


def _type(name: str, old: Any, new: Any, *, coerces: bool) -> list[Change]:
    if old == new:
        return []
    if new is None:
        return [_change(name, "type", "looser", f"may be of any type, was {old}")]
    if old is None:
        return [_change(name, "type", "stricter", f"must be {new}, was of any type")]
    if coerces:  # what the one casts may be of the other's type
        return _directions(name, "type", f"must be {new}, was {old}, and is cast", stricter=True, looser=True)
    return [_change(name, "type", "incompatible", f"must be {new}, was {old}")]


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
        *_vocabularies(name, old.vocabularies, new.vocabularies),
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


def _vocabularies(
    name: str | None,
    old: Collection[tuple[frozenset[Any], float]],
    new: Collection[tuple[frozenset[Any], float]],
) -> list[Change]:
    """Compare pairs of words and the share that may be others; one with more words or a larger share follows."""
    stricter, looser = (
        any(not any(words <= more and share <= most for words, share in given) for more, most in asked)
        for given, asked in ((old, new), (new, old))
    )
    said = ["; ".join(f"at most {share:g} outside {_some(words)}" for words, share in side) for side in (new, old)]
    sentence = f"is {said[0] or 'any'}, was {said[1] or 'any'}"
    # Each cell is outside one of two vocabularies without a common word, so the two shares are at least 1 together.
    if any(not words & others and share + most < 1 - _ROUNDING for words, share in old for others, most in new):
        return [_change(name, "vocabulary", "incompatible", sentence)]
    return _directions(name, "vocabulary", sentence, stricter=stricter, looser=looser)


def _some(values: Iterable[Any]) -> str:
    return _listed(sorted(map(repr, values)))


def _directions(name: str | None, rule: str, sentence: str, *, stricter: bool, looser: bool) -> list[Change]:
    kinds: list[Kind] = [kind for kind, holds in (("stricter", stricter), ("looser", looser)) if holds]  # type: ignore[misc]
    return [_change(name, rule, kind, sentence) for kind in kinds]


def _change(column: str | None, rule: str, kind: Kind, said: str) -> Change:
    where = "table" if column is None else column if column.isprintable() and column else repr(column)
    return Change(column, rule, kind, f"{where}: {rule} {said}")
