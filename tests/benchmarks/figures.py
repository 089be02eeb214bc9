"""A figure is a ratio or an amount with its limit; tables for people, JSON for whoever compares two runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from tests.benchmarks.measuring import Timing

__all__ = ["Figure", "Outcome", "amount", "keep", "ratio", "render"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One line that the project promises.

    Attributes:
        name: What is compared.
        value: By wall clock, or the one amount.
        cpu: The same by CPU time; None for an amount.
        limit: What `value` and `cpu` are held against.
        sense: On which side of the limit is good.
        note: A reservation, or why there is no value.
    """

    name: str
    value: float | None
    cpu: float | None
    limit: float
    sense: Literal["at most", "at least"]
    unit: str = "times"
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether both wall clock and CPU keep the limit; None where there was nothing to compare with."""
        if self.value is None:
            return None
        values = [self.value] if self.cpu is None else [self.value, self.cpu]
        return all(value <= self.limit if self.sense == "at most" else value >= self.limit for value in values)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one benchmark found."""

    name: str
    setting: str
    timings: tuple[Timing, ...]
    figures: tuple[Figure, ...]
    remarks: tuple[str, ...] = ()


def ratio(
    name: str,
    over: Timing | str,
    under: Timing | str,
    limit: float,
    sense: Literal["at most", "at least"],
    note: str = "",
) -> Figure:
    """`over` divided by `under`, by wall clock and by CPU; a side that failed leaves a figure without a value."""
    for side in (over, under):
        if isinstance(side, str):
            return Figure(name, None, None, limit, sense, note=f"not measured: {side.splitlines()[0][:160]}")
    assert isinstance(over, Timing)
    assert isinstance(under, Timing)
    return Figure(name, over.wall_s / under.wall_s, over.cpu_s / under.cpu_s, limit, sense, note=note)


def amount(name: str, value: float, limit: float, unit: str, note: str = "") -> Figure:
    """An amount that must stay under a limit."""
    return Figure(name, value, None, limit, "at most", unit, note)


def render(outcome: Outcome) -> str:
    """Render as Markdown tables, which docs/benchmarks.md takes as they are."""
    parts = [f"### {outcome.name}: {outcome.setting}"]
    if outcome.timings:
        rows = [
            (item.name, f"{item.wall_s:.2f}", f"{item.cpu_s:.2f}", f"{item.peak_bytes / 1e6:.0f}", item.repetitions)
            for item in outcome.timings
        ]
        parts.append(_table(("work", "wall s", "CPU s", "peak MB", "runs"), rows))
    if outcome.figures:
        parts.append(_table(("figure", "wall", "CPU", "limit", "met"), [_row(figure) for figure in outcome.figures]))
    if outcome.remarks:
        parts.append("\n".join(f"- {remark}" for remark in outcome.remarks))
    return "\n\n".join(parts) + "\n"


def _row(figure: Figure) -> tuple[str, str, str, str, str]:
    name = f"{figure.name} ({figure.note})" if figure.note else figure.name
    met = {True: "yes", False: "NO", None: "-"}[figure.met]
    limit = f"{figure.sense} {figure.limit:g} {figure.unit}"
    values = [("-" if value is None else f"{value:.3g}") for value in (figure.value, figure.cpu)]
    return name, values[0], values[1], limit, met


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    cells = [[str(cell).replace("|", "\\|") for cell in row] for row in (head, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in cells]
    lines = ["| " + " | ".join(row) + " |" for row in padded]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(lines)


def keep(outcome: Outcome, folder: Path, machine: Mapping[str, object]) -> Path:
    """Write one outcome as JSON and return where it lies."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{outcome.name}.json"
    document = asdict(outcome)
    document["figures"] = [{**asdict(figure), "met": figure.met} for figure in outcome.figures]
    document["machine"] = dict(machine)
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path
