"""A contract as Python source that a person edits and keeps in git.

Names and values of the data reach the source as literals only, and comments hold nothing but figures: no cell and no
column name can become code. The layout is one that `ruff format` leaves alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Call", "Column", "Shared", "render_source"]

_WIDTH = 88
_LONGEST = 120
_ESCAPE_OR_QUOTE = re.compile(r'\\.|"', re.DOTALL)
_SWAPPED = {"\\'": "'", '"': '\\"'}
_CHECKS = "secure_ml.contracts.checks"


@dataclass(frozen=True, slots=True)
class Shared:
    """A list that several checks use: written once, as a constant whose name is made here and not from the data."""

    name: str
    values: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A check: `pa.Check.isin` or the name of a ready check, with positional arguments that are data."""

    name: str
    arguments: tuple[object, ...]
    warn: bool = False


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the contract.

    Attributes:
        name: The column's name.
        dtype: Python source of its Polars type, made here and not from the data; None allows any type.
        evidence: Comments: figures and words, nothing of the data.
        checks: In order.
        nullable: Whether cells may be missing.
        unique: Whether all values differ.
        settings: The column's metadata for secure-ml.
    """

    name: str
    dtype: str | None
    evidence: tuple[str, ...]
    checks: tuple[Call, ...] = ()
    nullable: bool = False
    unique: bool = False
    settings: tuple[tuple[str, object], ...] = ()


def render_source(columns: Sequence[Column], *, name: str, about: Sequence[str], checks: Sequence[Call] = ()) -> str:
    """Return a Python file that holds one pandera schema.

    Args:
        columns: In the order of the table.
        name: The contract's name.
        about: Lines of the module's docstring, made here and not from the data.
        checks: Of the table.
    """
    calls = [*checks, *(call for column in columns for call in column.checks)]
    ready = sorted({call.name for call in calls if "." not in call.name})
    lines = ['"""' + about[0], *about[1:], '"""', "", "import pandera.polars as pa"]
    if any(column.dtype and "pl." in column.dtype for column in columns):
        lines.append("import polars as pl")
    if ready:
        joined = f"from {_CHECKS} import {', '.join(ready)}"
        lines += [joined] if len(joined) <= _WIDTH else [f"from {_CHECKS} import (", *(f"    {n}," for n in ready), ")"]
    shared = {item.name: item for call in calls for item in call.arguments if isinstance(item, Shared)}
    for item in shared.values():
        first, *rest = _value(item.values, 0, room=len(item.name) + 3)
        lines += ["", f"{item.name} = {first}", *rest]
    lines += ["", "schema = pa.DataFrameSchema("]
    body = [line for column in columns for line in _column(column)]
    lines += ["    {", *body, "    },"] if columns else ["    {},"]
    lines += _checks(checks, 4)
    lines += [*_entry("name=", name, 4), "    strict=True,", ")", ""]
    return "\n".join(lines)


def _column(column: Column) -> list[str]:
    lines = [f"        # {line}" for line in column.evidence]
    key = _value(column.name, 8)
    lines += [*key[:-1], f"{key[-1]}: pa.Column("] if len(key) > 1 else [f"        {key[0].strip()}: pa.Column("]
    lines.append(f"            {column.dtype},")
    lines += _checks(column.checks, 12)
    lines += [f"            {word}=True," for word in ("nullable", "unique") if getattr(column, word)]
    if column.settings:
        lines += _entry("metadata=", {"secure_ml": dict(column.settings)}, 12)
    return [*lines, "        ),"]


def _checks(checks: Sequence[Call], indent: int) -> list[str]:
    if not checks:
        return []
    pad = " " * indent
    return [f"{pad}checks=[", *(line for check in checks for line in _check(check, indent + 4)), f"{pad}],"]


def _check(check: Call, indent: int) -> list[str]:
    pad = " " * indent
    warns = [("raise_warning=" if "." in check.name else "warn=", True)] if check.warn else []
    given = [("", argument) for argument in check.arguments] + warns
    flat = f"{pad}{check.name}({', '.join(word + _flat(value) for word, value in given)}),"
    if len(flat) <= _WIDTH:
        return [flat]
    lines = [f"{pad}{check.name}("]
    for word, value in given:
        lines += _entry(word, value, indent + 4)
    return [*lines, f"{pad}),"]


def _entry(word: str, value: object, indent: int) -> list[str]:
    lines = _value(value, indent, room=len(word) + 1)
    lines[0] = f"{' ' * indent}{word}{lines[0].strip()}"
    lines[-1] += ","
    return lines


def _value(value: object, indent: int, room: int = 0) -> list[str]:
    """Return the lines of a literal, the first indented; one line where it fits, else one item a line."""
    pad = " " * indent
    flat = _flat(value)
    if indent + len(flat) + room <= (_LONGEST if isinstance(value, str) else _WIDTH):
        return [pad + flat]
    match value:
        case str():
            size = (_LONGEST - indent - 6) // 10  # an escape is at most 10 characters long
            parts = [_flat(value[start : start + size]) for start in range(0, len(value), size)]
            return [pad + "(", *(f"{pad}    {part}" for part in parts), pad + ")"]
        case dict():
            lines = [pad + "{"]
            for key, item in value.items():
                lines += _entry(f"{_flat(key)}: ", item, indent + 4)
            return [*lines, pad + "}"]
        case list() | tuple():
            lines = [pad + "["]
            for item in value:
                lines += _entry("", item, indent + 4)
            return [*lines, pad + "]"]
    return [pad + flat]


def _flat(value: object) -> str:
    match value:
        case Shared():
            return value.name
        case str():
            return _text(value)
        case dict():
            return "{" + ", ".join(f"{_flat(key)}: {_flat(item)}" for key, item in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(_flat, value)) + "]"
        case bool() | int() | float() | None:
            return repr(value)
    raise TypeError(f"no literal for a {type(value).__name__}")


def _text(text: str) -> str:
    """Return a literal in double quotes, unless that needs more escapes: what `ruff format` would write."""
    inner = repr('"' + text)[2:-1]  # in single quotes, as it holds a double quote
    if text.count('"') > text.count("'"):
        return f"'{inner}'"
    return '"' + _ESCAPE_OR_QUOTE.sub(lambda found: _SWAPPED.get(found[0], found[0]), inner) + '"'
