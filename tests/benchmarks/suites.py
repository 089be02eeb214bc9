"""The benchmarks themselves: which work is held against which, and what the project promises of it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.figures import Figure, Outcome, amount, ratio
from tests.benchmarks.measuring import Task, Timing, alternate, run_task
from tests.environments import interpreter

__all__ = ["SUITES", "Setting"]

_GIGABYTE = 1e9
_LINEAR = 3.3  # three times the batches, and a tenth for the noise of the measurement


@dataclass(frozen=True, slots=True)
class Setting:
    """How large, how often and where.

    Attributes:
        rows: Of the table of orders.
        huge_rows: Of the table that is only held for its memory.
        repetitions: Of each piece of work.
        slow_repetitions: Of the peers that take minutes.
        folder: For the files; those of the orders are made where they are not there.
    """

    rows: int
    huge_rows: int
    repetitions: int
    slow_repetitions: int
    folder: Path


def _module(name: str, *words: object, python: str = sys.executable) -> tuple[str, ...]:
    return (python, "-m", f"tests.benchmarks.{name}", *(str(word) for word in words))


def _orders(setting: Setting, rows: int, *, faulty: int = 0) -> Path:
    path = setting.folder / (f"orders-{rows}-faulty-{faulty}.parquet" if faulty else f"orders-{rows}.parquet")
    if not path.exists():
        print(f"  writing {rows:,} rows", file=sys.stderr, flush=True)
        run_task(Task("orders", _module("orders", rows, path, faulty), whole=True))
    return path


def _done(timings: dict[str, Timing | str]) -> tuple[Timing, ...]:
    return tuple(timing for timing in timings.values() if isinstance(timing, Timing))


def _peer(name: str, peer: str, *words: object, most: int) -> Task | str:
    """The task of a peer with an environment of its own, or why there is none."""
    try:
        python = interpreter(Path(__file__).parent / "peers" / f"{peer}.lock")
    except RuntimeError as error:
        return str(error)
    return Task(name, _module(f"peers.run_{peer}", *words, python=python), most=most)


def _run(setting: Setting, tasks: list[Task | str], names: list[str]) -> dict[str, Timing | str]:
    timings = alternate([task for task in tasks if isinstance(task, Task)], setting.repetitions)
    return {name: task if isinstance(task, str) else timings[name] for name, task in zip(names, tasks, strict=True)}


def scan(setting: Setting) -> Outcome:
    """The compiled contract against one hash over all columns in the same engine, and where the time goes."""
    path = _orders(setting, setting.rows)
    works = ("hash", "contract-without-unique", "count-distinct", "contract-unique", "contract", "contract-email")
    timings = alternate([Task(work, _module("run_ours", work, path)) for work in works], setting.repetitions)
    whole, plain = timings["contract"], timings["hash"]
    peak = whole.peak_bytes if isinstance(whole, Timing) else 0
    figures = (
        ratio("contract without uniqueness / hash", timings["contract-without-unique"], plain, 1.5, "at most"),
        ratio("uniqueness / count(distinct)", timings["contract-unique"], timings["count-distinct"], 1.5, "at most"),
        ratio("with a pattern over every e-mail too / hash", timings["contract-email"], plain, 1.5, "at most"),
        amount("peak memory of the whole contract", peak / _GIGABYTE, 1.0, "GB"),
    )
    return Outcome("scan", f"15 rules on 12 columns, {setting.rows:,} rows of Parquet", _done(timings), figures)


def rules(setting: Setting) -> Outcome:
    """Where the time goes: each rule alone, over a scan of its own."""
    names = (
        "nothing but types", "unique order_id", "customer_id in a range", "quantity in a range", "price above 0",
        "mean of price", "discount in a range", "share of nulls in rating", "status one of 6", "every status occurs",
        "pattern of country", "country none of 2", "beginning of email", "length of email", "created in a range",
        "shipped not before created",
    )  # fmt: skip
    path = _orders(setting, setting.rows)
    tasks = [Task(name, _module("run_ours", "contract-one", path, name)) for name in names]
    tasks.append(Task("pattern of every e-mail", _module("run_ours", "contract-one", path, "email")))
    tasks.append(Task("all together", _module("run_ours", "contract", path)))
    timings = alternate(tasks, min(3, setting.repetitions))
    return Outcome("rules", f"each rule alone, {setting.rows:,} rows", _done(timings), ())


def peers(setting: Setting) -> Outcome:
    """The same 15 rules, uniqueness included, with other validators."""
    path = _orders(setting, setting.rows)
    slow = setting.slow_repetitions
    names = ["secure-ml", "pandera on Polars", "pandera on ibis", "pandera on pandas", "Great Expectations on pandas"]
    tasks = [
        Task("secure-ml", _module("run_ours", "contract", path)),
        *(
            Task(f"pandera on {name}", _module("peers.run_pandera", name.lower(), path), most=slow)
            for name in ("Polars", "ibis", "pandas")
        ),
        _peer("Great Expectations on pandas", "great_expectations", path, most=slow),
    ]
    timings = _run(setting, tasks, names)
    limits = dict(zip(names[1:], (10, 5, 10, 10), strict=True))
    ours = timings["secure-ml"]
    return Outcome(
        "peers",
        f"15 rules on 12 columns, {setting.rows:,} rows of Parquet, uniqueness included",
        _done(timings),
        tuple(ratio(f"{name} / secure-ml", timings[name], ours, limit, "at least") for name, limit in limits.items()),
        ("Great Expectations on DuckDB (duckdb-engine 0.17) runs none of the rules: IndexError at its first metric.",),
    )


def faulty(setting: Setting) -> Outcome:
    """The same rules on a table that breaks some: what it costs to say how, and which rows."""
    path = _orders(setting, setting.rows, faulty=1000)
    names = ["Polars", "ibis", "pandas"]
    tasks = [Task("secure-ml", _module("run_ours", "contract", path))]
    tasks += [
        Task(f"pandera on {name}", _module("peers.run_pandera", name.lower(), path), most=setting.slow_repetitions)
        for name in names
    ]
    timings = alternate(tasks, setting.repetitions)
    said = f"15 rules on 12 columns, {setting.rows:,} rows of Parquet, three rules broken by one row in 1,000 each"
    return Outcome("faulty", said, _done(timings), ())


def huge(setting: Setting) -> Outcome:
    """A table ten times as large: memory stays bounded."""
    path = _orders(setting, setting.huge_rows)
    try:
        timings = alternate([Task("contract", _module("run_ours", "contract", path))], 1)
    finally:
        path.unlink()
    timing = timings["contract"]
    value = timing.peak_bytes / _GIGABYTE if isinstance(timing, Timing) else None
    note = "" if isinstance(timing, Timing) else f"not measured: {timing[:300]}"
    figure = Figure("peak memory", value, None, 1.0, "at most", "GB", note)
    return Outcome("huge", f"15 rules, {setting.huge_rows:,} rows of Parquet", _done(timings), (figure,))


def commit_hook(setting: Setting) -> Outcome:
    """`secure-ml validate` on a file of 1,000 rows: the whole process."""
    path = _orders(setting, 1000)
    text = setting.folder / "orders-1000.csv"
    contract = Path(__file__).with_name("orders_contract.py")
    command = (sys.executable, "-m", "secure_ml.cli", "validate", str(contract))
    if not text.exists():
        code = "import sys, polars; polars.read_parquet(sys.argv[1]).write_csv(sys.argv[2])"
        run_task(Task("csv", (sys.executable, "-c", code, str(path), str(text)), whole=True))
    timings = alternate(
        [
            Task("secure-ml validate, Parquet", (*command, str(path)), whole=True),
            Task("secure-ml validate, CSV", (*command, str(text)), whole=True),
            Task("secure-ml --help", (sys.executable, "-m", "secure_ml.cli", "--help"), whole=True),
        ],
        max(5, setting.repetitions),
    )
    figures = tuple(
        amount(name, timing.cpu_s, 1.5, "s of CPU")
        if isinstance(timing, Timing)
        else Figure(name, None, None, 1.5, "at most", "s of CPU", f"not measured: {timing[:300]}")
        for name, timing in timings.items()
        if "validate" in name
    )
    return Outcome("commit-hook", "1,000 rows, 15 rules, whole processes", _done(timings), figures)


def profile(setting: Setting) -> Outcome:
    """Our profile against DuckDB's SUMMARIZE, whylogs and TFDV."""
    path, slow = _orders(setting, setting.rows), setting.slow_repetitions
    names = ["profile", "SUMMARIZE", "whylogs", "TFDV"]
    tasks = [
        Task("profile", _module("run_ours", "profile", path)),
        Task("SUMMARIZE", _module("run_ours", "summarize", path)),
        _peer("whylogs", "whylogs", path, most=slow),
        _peer("TFDV", "tfdv", path, most=slow),
    ]
    timings = _run(setting, tasks, names)
    ours = timings["profile"]
    return Outcome(
        "profile",
        f"12 columns, {setting.rows:,} rows of Parquet",
        _done(timings),
        (
            ratio("profile / SUMMARIZE", ours, timings["SUMMARIZE"], 2, "at most"),
            ratio("whylogs / profile", timings["whylogs"], ours, 5, "at least"),
            ratio("TFDV / profile", timings["TFDV"], ours, 5, "at least"),
        ),
    )


def distances(setting: Setting) -> Outcome:
    """Two-sample drift from two profiles, against SciPy on all rows."""
    rows = min(setting.rows, 1_000_000)
    run_task(Task("make", _module("run_distances", "make", setting.folder, rows)))
    timings = alternate(
        [
            Task("compare two profiles", _module("run_distances", "compare", setting.folder)),
            Task("SciPy on all rows", _module("run_distances", "exact", setting.folder), most=1),
        ],
        setting.repetitions,
    )
    figures: list[Figure] = []
    remarks: list[str] = []
    compare, exact = timings["compare two profiles"], timings["SciPy on all rows"]
    if isinstance(compare, Timing):
        figures.append(amount("compare two profiles, reading them included", compare.cpu_s, 0.1, "s of CPU"))
    if isinstance(exact, Timing):
        outside, bounds = exact.result["outside"], exact.result["largest_bound"]
        figures.append(amount("figures outside their stated bound", len(outside), 0, "figures"))
        for measure, worst in exact.result["worst"].items():
            remarks.append(f"{measure}: off by at most {worst:.2g}, largest stated bound {bounds[measure]:.2g}")
        remarks += outside
    setting_said = f"2 tables of {rows:,} rows and 20 columns"
    return Outcome("distances", setting_said, _done(timings), tuple(figures), tuple(remarks))


def evidence_growth(setting: Setting) -> Outcome:
    """An intake, a look of the sensor and a release, with 10, 100 and 300 accepted batches in the home."""
    works, sizes = ("intake", "sensor", "release"), (10, 100, 300)
    tasks = [Task(f"{work}, {size} batches", _module("run_evidence", work, size)) for work in works for size in sizes]
    timings = alternate(tasks, min(3, setting.repetitions))
    figures = tuple(
        ratio(
            f"{work}, 300 batches / 100 batches",
            timings[f"{work}, 300 batches"],
            timings[f"{work}, 100 batches"],
            _LINEAR,
            "at most",
        )
        for work in works
    )
    return Outcome(
        "evidence-growth", "small batches of 3 columns, evidence of both stages each", _done(timings), figures
    )


SUITES: dict[str, Callable[[Setting], Outcome]] = {
    "scan": scan,
    "rules": rules,
    "peers": peers,
    "faulty": faulty,
    "commit-hook": commit_hook,
    "profile": profile,
    "distances": distances,
    "evidence-growth": evidence_growth,
    "huge": huge,
}
