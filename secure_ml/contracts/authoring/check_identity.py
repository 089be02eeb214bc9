"""What a Python check is, so that two loads of one contract give equal checks and a changed check is another one.

A function is its code, its defaults, what it closes over and the globals that its code reads, each followed in turn; so
is a class of the contract's own. What is imported is one object for both contracts, and stands for itself, as does
every value of a type that is not listed here: two such values are never the same, so that a check that holds one cannot
be compared.
"""

from __future__ import annotations

import dis
import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from functools import partial
from pathlib import Path
from types import (
    CellType,
    CodeType,
    EllipsisType,
    FunctionType,
    GetSetDescriptorType,
    MappingProxyType,
    MemberDescriptorType,
    MethodType,
    NoneType,
)
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np

__all__ = ["identity", "same_value"]

_PRINTED = {
    *(NoneType, EllipsisType, bool, int, float, complex, str, bytes, range, slice, Decimal, Fraction, UUID),
    *(date, datetime, time, timedelta, timezone, ZoneInfo, type(Path())),
}
"""Types whose `repr` says all."""

_SAYS_NOTHING = {"__module__", "__doc__", "__annotations__"}
"""Of a class: does not change what its methods do."""

Seen = dict[int, tuple[int, Any]]
"""Functions, classes and objects met so far: by id, the number of each, and itself so that the id stays its own."""


@dataclass(frozen=True, slots=True, eq=False)
class _Itself:
    """A value that equals no other."""

    value: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Itself) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


def identity(check: Any) -> object:
    """Return what must be equal for two Python checks to be the same rule.

    Args:
        check: A pandera check.

    Returns:
        A value that can be compared and hashed.
    """
    given = (check._check_kwargs, check.statistics, check.groupby, getattr(check, "groups", None))
    kept = (check.ignore_na, check.element_wise, getattr(check, "native", None), check.determined_by_unique)
    return same_value((_of_model(check._check_fn), given, kept))


def same_value(value: Any) -> object:
    """Return what must be equal for two values to be the same; see the module. It can be hashed."""
    try:
        return _held(value, {})
    except RecursionError:  # nested too deeply to be followed
        return _Itself(value)


def _of_model(function: Any) -> Any:
    """Return what a check is that a `DataFrameModel` declares as a method: pandera hides it behind the whole class."""
    from pandera.api.base.model_components import BaseCheckInfo

    if not isinstance(function, FunctionType):
        return function
    inside = inspect.getclosurevars(function).nonlocals
    info, model = inside.get("self"), inside.get("model_cls")
    if not isinstance(info, BaseCheckInfo) or model is None or not isinstance(info.check_fn, FunctionType):
        return function
    names = {name for code in _codes(info.check_fn.__code__) for name in code.co_names}
    used = {name: value for base in inspect.getmro(model)[::-1] for name, value in vars(base).items() if name in names}
    return ("method", info.check_fn, [(name, used[name]) for name in sorted(used)])


def _held(value: Any, seen: Seen) -> object:
    kind = type(value)
    if kind in _PRINTED:
        return (kind.__qualname__, repr(value))
    if kind is tuple:
        return ("tuple", *(_held(item, seen) for item in value))
    if isinstance(value, FunctionType | type) and _is_imported(value):
        return _Itself(value)
    if id(value) in seen:
        return ("again", seen[id(value)][0])
    seen[id(value)] = (len(seen), value)
    return (kind.__qualname__, _parts(value, seen))


def _parts(value: Any, seen: Seen) -> object:
    match value:
        case FunctionType():
            return (_shape(value.__code__, seen), _held(_given(value), seen))
        case partial() if type(value) is partial:
            return _held((value.func, value.args, value.keywords), seen)
        case MethodType():
            return _held((value.__func__, value.__self__), seen)
        case staticmethod() | classmethod():
            return _held(value.__func__, seen)
        case property():
            return _held((value.fget, value.fset, value.fdel), seen)
        case MemberDescriptorType() | GetSetDescriptorType() if not _is_imported(value.__objclass__):
            return value.__name__
        case type():
            own = [(name, item) for name, item in vars(value).items() if name not in _SAYS_NOTHING]
            return (value.__qualname__, _held((type(value), value.__bases__, own), seen))
        case re.Pattern():
            return _held((value.pattern, value.flags), seen)
        case np.ndarray() if type(value) is np.ndarray and not value.dtype.hasobject:
            return (repr(value.dtype.descr), value.shape, value.tobytes())
        case np.ndarray() if type(value) is np.ndarray:
            return _held((repr(value.dtype.descr), value.shape, value.tolist()), seen)
        case np.generic() if not value.dtype.hasobject:
            return (repr(value.dtype.descr), value.tobytes())
    if type(value) is list:
        return tuple(_held(item, seen) for item in value)
    if type(value) in (dict, MappingProxyType):
        return tuple((_held(key, seen), _held(item, seen)) for key, item in value.items())
    if type(value) in (set, frozenset):
        return frozenset(_held(item, seen) for item in value)
    return _column(value, seen)


def _given(function: FunctionType) -> tuple[Any, ...]:
    """Return all that a function reads apart from its arguments."""
    cells = [_contents(cell) for cell in function.__closure__ or ()]
    read = {
        step.argval
        for code in _codes(function.__code__)
        for step in dis.get_instructions(code)
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")
    }
    known = [(name, function.__globals__[name]) for name in sorted(read) if name in function.__globals__]
    return (function.__defaults__, function.__kwdefaults__, cells, known, vars(function))


def _contents(cell: CellType) -> Any:
    try:
        return (cell.cell_contents,)
    except ValueError:  # nothing was put into it yet
        return ()


def _codes(code: CodeType) -> Iterator[CodeType]:
    """Yield a function's code and that of the functions in it."""
    yield code
    for part in code.co_consts:
        if isinstance(part, CodeType):
            yield from _codes(part)


def _shape(code: CodeType, seen: Seen) -> object:
    inner = [_shape(part, seen) if isinstance(part, CodeType) else _held(part, seen) for part in code.co_consts]
    arguments = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    return (code.co_code, code.co_exceptiontable, code.co_names, arguments, counts, tuple(inner))


def _is_imported(value: Any) -> bool:
    """Whether a function or class is what its module, which both contracts share, holds under its name."""
    found: Any = sys.modules.get(value.__module__)
    for part in value.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is value


def _column(value: Any, seen: Seen) -> object:
    """Return a Series or a frame by its values; any other object by what it holds."""
    kind = type(value)
    match kind.__module__.partition(".")[0], kind.__name__:
        case "polars", "Series":
            return _held((value.name, repr(value.dtype), value.to_list()), seen)
        case "polars", "DataFrame":
            return _held(value.get_columns(), seen)
        case "polars", "Expr":
            return _expression(value)
        case "pandas", "Series":
            return _held((value.name, str(value.dtype), value.index, value.tolist()), seen)
        case "pandas", "DataFrame":
            return _held((value.columns, [value.iloc[:, at] for at in range(value.shape[1])]), seen)
        case "pandas", "Index" | "RangeIndex" | "DatetimeIndex" | "MultiIndex":
            return _held((list(value.names), str(value.dtype), value.tolist()), seen)
        case "pandas", "Timestamp" | "Timedelta":
            return repr(value)
    return _object(value, seen)


def _expression(value: Any) -> object:
    import polars as pl

    try:
        said = value.meta.serialize()
    except (pl.exceptions.PolarsError, TypeError):  # it holds Python that cannot be written down
        return _Itself(value)
    return _Itself(value) if b"AnonymousFunction" in said else said


def _object(value: Any, seen: Seen) -> object:
    """Return what an object of a class in Python holds; one that says itself how it is copied may leave things out."""
    kind = type(value)
    ways = ("__reduce__", "__reduce_ex__", "__getstate__")
    if any(getattr(kind, name) is not getattr(object, name) for name in ways if hasattr(object, name)):
        return _Itself(value)
    try:
        parts = object.__reduce_ex__(value, 2)
    except TypeError:
        return _Itself(value)
    listed = [part if part is None or isinstance(part, dict | tuple) else list(part) for part in parts[1:]]
    return _held(listed, seen)
