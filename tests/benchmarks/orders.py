"""The table of the benchmarks, made by DuckDB from row numbers alone: the same file every time, and of any size.

Run as `python -m tests.benchmarks.orders ROWS PATH [FAULTY]`. With FAULTY, one row in so many breaks a rule of each of
three columns.
"""

from __future__ import annotations

import sys
from pathlib import Path

import duckdb

from tests.benchmarks.orders_values import COUNTRIES, STATUSES

__all__ = ["write"]


def write(rows: int, path: Path, faulty: int = 0) -> None:
    """Write `rows` orders to a Parquet file."""

    def pick(salt: int, modulus: int) -> str:
        return f"(hash(i, {salt}) % {modulus})"

    def one_of(salt: int, values: tuple[str, ...]) -> str:
        listed = ", ".join(f"'{value}'" for value in values)
        return f"[{listed}][1 + {pick(salt, len(values))}::INT]"

    def fault(usual: str, broken: str, salt: int) -> str:
        return f"if({pick(salt, faulty)} = 0, {broken}, {usual})" if faulty else usual

    connection = duckdb.connect(config={"memory_limit": "2GB", "autoinstall_known_extensions": "false"})
    with connection:
        connection.execute(
            f"""
            COPY (
              SELECT
                ((i * 2654435761) & 1099511627775)::BIGINT AS order_id,
                (1 + {pick(1, 1_000_000)})::INTEGER AS customer_id,
                {fault(f"(1 + {pick(2, 100)})", "0", 20)}::SMALLINT AS quantity,
                {fault(f"(1 + {pick(3, 999_000)}) / 100.0", "-1.0", 21)}::DOUBLE AS price,
                if({pick(4, 20)} = 0, NULL, {pick(5, 1000)} / 1000.0)::DOUBLE AS discount,
                if({pick(6, 50)} = 0, NULL, {pick(7, 100_000)} / 1000.0)::DOUBLE AS weight,
                if({pick(8, 10)} = 0, NULL, 1 + {pick(9, 4001)} / 1000.0)::DOUBLE AS rating,
                {one_of(10, STATUSES)} AS status,
                {fault(one_of(11, COUNTRIES), "'at'", 22)} AS country,
                concat('user', {pick(1, 1_000_000)}, '.', {pick(12, 90)}, '@shop', {pick(13, 500)}, '.example.org')
                    AS email,
                make_timestamp(1577836800000000 + ({pick(14, 157_680_000)} * 1000000)::BIGINT) AS created,
                if({pick(15, 30)} = 0, NULL, make_timestamp(
                    1577836800000000 + (({pick(14, 157_680_000)} + {pick(16, 864_000)}) * 1000000)::BIGINT)) AS shipped
              FROM range({rows}) AS numbers(i)
            ) TO '{path}' (FORMAT parquet, COMPRESSION snappy, ROW_GROUP_SIZE 122880)
            """
        )


if __name__ == "__main__":
    write(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 0)
