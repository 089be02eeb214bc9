"""One piece of our own work, or of DuckDB's, on a Parquet file: `python -m tests.benchmarks.run_ours WORK FILE [MORE]`.

Whatever a contract is compiled into is compiled inside the clock; imports are not.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from secure_ml.tables.opened_table import DEFAULT_LIMITS
from tests.benchmarks.measuring import measured

WORK, FILE, *MORE = sys.argv[1:]


def _duckdb(query: str) -> Callable[[], Any]:
    import duckdb

    connection = duckdb.connect(config={"memory_limit": DEFAULT_LIMITS.memory, "autoinstall_known_extensions": "false"})
    return lambda: len(connection.sql(query.format(file=FILE)).fetchall())


def _contract(*, most_rules: bool = True, unique: bool = True, one: str | None = None, email: bool = False) -> Any:
    from secure_ml.contracts.validate import validate
    from secure_ml.tables.data_files import open_table
    from tests.benchmarks.orders_contract import RULES, build

    names = tuple(name for name in RULES if (unique if name == "unique order_id" else most_rules))
    if one is not None:
        names = (one,) if one in RULES else ()
    schema = build(rules=names, nulls=one is None and most_rules, email=email)

    def work() -> list[tuple[str | None, str, int]]:
        report = validate(open_table(Path(FILE)), schema)
        if report.fallbacks:
            raise RuntimeError(f"not compiled: {report.fallbacks}")
        return [(finding.column, finding.rule, finding.failed) for finding in report.findings]

    return work


def _profile() -> Callable[[], Any]:
    from secure_ml.profiles.document import render
    from secure_ml.profiles.profiling import profile_table
    from secure_ml.tables.data_files import open_table

    return lambda: len(render(profile_table(open_table(Path(FILE)))))


def _import_outside_the_clock() -> None:
    for name in ("ibis.backends.duckdb", "pandera.polars", "pyarrow.dataset", "pyarrow.parquet"):
        importlib.import_module(name)


def main() -> None:
    columns = (
        "order_id, customer_id, quantity, price, discount, weight, rating, status, country, email, created, shipped"
    )
    _import_outside_the_clock()
    match WORK:
        case "hash":
            work = _duckdb(f"SELECT bit_xor(hash({columns})) FROM '{{file}}'")
        case "count-distinct":
            work = _duckdb("SELECT count(DISTINCT order_id) FROM '{file}'")
        case "summarize":
            work = _duckdb("SUMMARIZE FROM '{file}'")
        case "contract":
            work = _contract()
        case "contract-without-unique":
            work = _contract(unique=False)
        case "contract-unique":
            work = _contract(most_rules=False)
        case "contract-email":
            work = _contract(unique=False, email=True)
        case "contract-one":
            work = _contract(one=MORE[0], email=MORE[0] == "email")
        case "profile":
            work = _profile()
        case _:
            raise SystemExit(f"no work named {WORK}")
    measured(work)


main()
