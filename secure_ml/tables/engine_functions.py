"""Functions of the engine that ibis has no name for, or none that both DuckDB and Spark know."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

__all__ = ["engine_aggregate", "engine_function"]


@cache
def engine_function(name: str, takes: Any, gives: str) -> Callable[[Any], Any]:
    """Return the engine's own function of one value.

    Args:
        name: As the engine calls it.
        takes: ibis type of the value.
        gives: ibis type of the result.
    """
    import ibis

    made: Callable[[Any], Any] = ibis.udf.scalar.builtin(_declared, name=name, signature=((takes,), gives))
    return made


@cache
def engine_aggregate(name: str, takes: Any, gives: str, how: Any = None) -> Callable[..., Any]:
    """Return the engine's own aggregate of one column, with a second argument of type `how`; see `engine_function`."""
    import ibis

    given, kinds = (_declared, (takes,)) if how is None else (_declared_of_two, (takes, how))
    made: Callable[..., Any] = ibis.udf.agg.builtin(given, name=name, signature=(kinds, gives))
    return made


def _declared(value: Any) -> Any:
    raise NotImplementedError("the engine runs it")


def _declared_of_two(value: Any, how: Any) -> Any:
    raise NotImplementedError("the engine runs it")
