"""Time and memory of one piece of work in a process of its own. Standard library only: peers' environments run it too.

A child starts the clock after its imports and stops it when the result is there (`measured`), so that what a library
costs to import is not in the figure; the commit-hook benchmark, which is about just that, counts whole processes.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Sample", "Task", "Timing", "alternate", "measured", "run_task"]

ROOT = Path(__file__).parents[2]
_MARK = "measured: "


@dataclass(frozen=True, slots=True)
class Task:
    """One piece of work.

    Attributes:
        name: In tables.
        command: What to start.
        whole: Measure the process from start to end, not what the child says of itself.
        most: At most this many repetitions, for what takes minutes.
        accepts: Exit codes that count as done.
    """

    name: str
    command: tuple[str, ...]
    whole: bool = False
    most: int = 99
    accepts: tuple[int, ...] = (0,)


@dataclass(frozen=True, slots=True)
class Sample:
    """One run: seconds of wall clock and of CPU (user and system, all threads), highest resident memory."""

    wall_s: float
    cpu_s: float
    peak_bytes: int
    result: Any = None


@dataclass(frozen=True, slots=True)
class Timing:
    """Medians over the repetitions of one task; the memory is the highest seen."""

    name: str
    wall_s: float
    cpu_s: float
    peak_bytes: int
    repetitions: int
    result: Any = None

    @classmethod
    def of(cls, name: str, samples: Sequence[Sample]) -> Timing:
        return cls(
            name,
            statistics.median(sample.wall_s for sample in samples),
            statistics.median(sample.cpu_s for sample in samples),
            max(sample.peak_bytes for sample in samples),
            len(samples),
            samples[-1].result,
        )


def measured(work: Callable[[], Any]) -> None:
    """Run `work` in this process and say, on the last line of standard output, what it took."""
    wall, cpu = time.perf_counter(), _cpu_s()
    result = work()
    wall, cpu = time.perf_counter() - wall, _cpu_s() - cpu
    print(_MARK + json.dumps({"wall_s": wall, "cpu_s": cpu, "peak_bytes": _peak_bytes(), "result": result}))


def _cpu_s() -> float:
    """CPU of this process and of the children that it has waited for."""
    spent = os.times()
    return time.process_time() + spent.children_user + spent.children_system


def _peak_bytes() -> int:
    # Not ru_maxrss: that keeps what the parent held before exec.
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise LookupError("/proc/self/status has no VmHWM")


def run_task(task: Task, environment: Mapping[str, str] | None = None) -> Sample:
    """Start one child and wait for it.

    Raises:
        RuntimeError: It failed; its last words are in the message.
    """
    settings = {**os.environ, "PYTHONPATH": str(ROOT), "DO_NOT_TRACK": "1", **(environment or {})}
    wall = time.perf_counter()
    process = subprocess.Popen(
        task.command, cwd=ROOT, env=settings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    wall = time.perf_counter() - wall
    if process.returncode not in task.accepts:
        raise RuntimeError(f"{task.name}: exit code {process.returncode}: {said[-1500:]}")
    if task.whole:
        return Sample(wall, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)
    found = [line for line in said.splitlines() if line.startswith(_MARK)]
    if not found:
        raise RuntimeError(f"{task.name}: said nothing of its time: {said[-1500:]}")
    return Sample(**json.loads(found[-1].removeprefix(_MARK)))


def alternate(tasks: Sequence[Task], repetitions: int) -> dict[str, Timing | str]:
    """Run all tasks once, then all again; one that fails is named with its error and not tried again."""
    samples: dict[str, list[Sample]] = {task.name: [] for task in tasks}
    failed: dict[str, Timing | str] = {}
    for repetition in range(repetitions):
        for task in tasks:
            if task.name in failed or repetition >= task.most:
                continue
            try:
                samples[task.name].append(run_task(task))
            except RuntimeError as error:
                failed[task.name] = str(error)
            print(f"  {task.name}: {_last(samples[task.name], failed.get(task.name))}", file=sys.stderr, flush=True)
    done = {name: Timing.of(name, given) for name, given in samples.items() if given and name not in failed}
    return {task.name: failed[task.name] if task.name in failed else done[task.name] for task in tasks}


def _last(samples: Sequence[Sample], error: Timing | str | None) -> str:
    if error is not None:
        return str(error)
    sample = samples[-1]
    return f"{sample.wall_s:.2f} s wall, {sample.cpu_s:.2f} s CPU, {sample.peak_bytes / 1e6:.0f} MB"
