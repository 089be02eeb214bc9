"""Run the benchmarks: tables on standard output, JSON in `benchmarks/`. Exit code 1 where a limit is not kept."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.figures import Figure, keep, render
from tests.benchmarks.suites import SUITES, Setting


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--only", metavar="NAME", action="append", choices=sorted(SUITES), help=", ".join(SUITES))
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows of the table (default: %(default)s)")
    parser.add_argument("--repetitions", type=int, default=5, help="of each work, alternating (default: %(default)s)")
    parser.add_argument("--slow-repetitions", type=int, default=3, help="of slow peers (default: %(default)s)")
    parser.add_argument("--huge", action="store_true", help="ten times the rows too, for the memory; 6 GB of disk")
    parser.add_argument("--folder", type=Path, help="where tables are made and left (default: made anew and removed)")
    parser.add_argument("--keep", type=Path, default=Path("benchmarks"), metavar="FOLDER", help="for the JSON")
    chosen = parser.parse_args()
    names = chosen.only or [name for name in SUITES if name != "huge" or chosen.huge]
    machine = {"cores": len(os.sched_getaffinity(0)), "python": platform.python_version(), "rows": chosen.rows}
    failed: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as temporary:
        folder = chosen.folder or Path(temporary)
        setting = Setting(chosen.rows, chosen.rows * 10, chosen.repetitions, chosen.slow_repetitions, folder)
        for name in names:
            print(f"{name}:", file=sys.stderr, flush=True)
            outcome = SUITES[name](setting)
            keep(outcome, chosen.keep, machine)
            print(render(outcome), flush=True)
            failed += [figure for figure in outcome.figures if figure.met is False]
    for figure in failed:
        print(f"not kept: {figure.name}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
