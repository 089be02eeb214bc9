"""What the look for personal data costs, by column; `python -m tests.benchmarks.personal_costs` writes the table.

CPU seconds of a million rows. The screen looks at all five kinds at once, the checks run on Polars one by one.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import polars as pl

from secure_ml.screening.personal_data import PersonalKind, personal_rows, screen_table
from secure_ml.tables.data_files import table_of

DOCUMENT = Path(__file__).parents[2] / "docs" / "personal_data.md"
BEGIN, END = "<!-- costs -->\n", "<!-- end of costs -->\n"
ROWS = 1_000_000


def columns() -> dict[str, pl.Series]:
    """Return columns without candidates first, then those whose cells must be looked at in Python."""
    draw = np.random.default_rng(0)
    words = np.array(["alpha", "beta", "gamma", "the", "order", "was", "late", "again", "blue"])
    texts = pl.DataFrame({str(index): words[draw.integers(0, len(words), ROWS)] for index in range(10)})
    return {
        "whole numbers below a million": pl.Series(draw.integers(0, 10**6, ROWS)),
        "floats": pl.Series(draw.normal(size=ROWS)),
        "order numbers of 8 digits, as text": pl.Series(draw.integers(10**7, 10**8, ROWS)).cast(pl.String),
        "text of ten words": texts.select(pl.concat_str(pl.all(), separator=" ")).to_series(),
        "milliseconds since 1970": pl.Series(1_700_000_000_000 + draw.integers(0, 10**10, ROWS)),
        "16 digits that begin with 4, as text": pl.Series(4 * 10**15 + draw.integers(0, 10**15, ROWS)).cast(pl.String),
        "different e-mail addresses": pl.Series([f"user{index}@example.com" for index in range(ROWS)]),
    }


def cpu_s(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def main() -> None:
    lines = ["| column of a million rows | the screen, CPU s | the five checks, CPU s |", "| --- | --- | --- |"]
    for name, column in columns().items():
        table = table_of(pl.DataFrame({"column": column}))
        screen = min(cpu_s(lambda table=table: screen_table(table)) for _ in range(2))  # type: ignore[misc]
        checks = sum(cpu_s(lambda c=column, k=kind: personal_rows(c, k)) for kind in get_args(PersonalKind))  # type: ignore[misc]
        lines.append(f"| {name} | {screen:.2f} | {checks:.2f} |")
    rendered = "\n".join(lines) + "\n"
    sys.stdout.write(rendered)
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    DOCUMENT.write_text(f"{before}{BEGIN}{rendered}{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
