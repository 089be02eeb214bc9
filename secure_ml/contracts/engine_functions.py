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
def engine_aggregate(name: str, takes: Any, gives: str) -> Callable[[Any], Any]:
    """Return the engine's own aggregate of one column; see `engine_function`."""
    import ibis

    made: Callable[[Any], Any] = ibis.udf.agg.builtin(_declared, name=name, signature=((takes,), gives))
    return made


def _declared(value: Any) -> Any:
    raise NotImplementedError("the engine runs it")
