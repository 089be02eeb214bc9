"""Progress of the main job: a live display on a terminal, plain lines with the time elsewhere."""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from secure_ml.commands.output import plain

__all__ = ["JobProgress"]

_BAR_WIDTH = 20


class _CountColumn(MofNCompleteColumn):
    """Count and total of a phase, or nothing if the total is unknown."""

    def render(self, task: Task) -> Text:
        """Return the text of the column."""
        return Text("") if task.total is None else super().render(task)


def _terminal() -> TextIO | None:
    """Return a stream on the terminal of standard output, or None if it is not a terminal.

    The stream has a file descriptor of its own, because Dagster redirects descriptor 1 while a stage runs.
    """
    return os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8") if sys.stdout.isatty() else None


class JobProgress:
    """Shows the current activity of the main job.

    On a terminal one line per phase has a bar, and it disappears when the job ends. Elsewhere each phase and each
    message is one plain line, so that a log file can be read.
    """

    def __init__(self, console: Console | None = None) -> None:
        """Write to `console`, by default standard output."""
        self.console = console or Console(file=_terminal(), highlight=False)
        self.live = self.console.is_terminal and not self.console.is_dumb_terminal
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=_BAR_WIDTH),
            _CountColumn(),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
            disable=not self.live,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        """Start the display."""
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Remove the display."""
        self._bars.stop()

    def phase(self, name: str, total: int | None = None) -> None:
        """Add the bar of a phase. A phase without a total shows only that it is running."""
        if self.live:
            self._tasks[name] = self._bars.add_task(self._fit(name), total=total)

    def detail(self, phase: str, text: str) -> None:
        """Replace the description of a phase, on a terminal only."""
        if self.live:
            self._bars.update(self._tasks[phase], description=self._fit(text))

    def advance(self, phase: str) -> None:
        """Count one more of the total of a phase."""
        if self.live:
            self._bars.advance(self._tasks[phase])

    def finish(self, phase: str) -> None:
        """Remove the bar of a phase."""
        if self.live:
            self._bars.remove_task(self._tasks.pop(phase))

    def message(self, text: str, *, style: str = "") -> None:
        """Print a line that stays. On a terminal it is cut to the width."""
        if self.live:
            self.console.print(Text(plain(text), style=style), no_wrap=True, overflow="ellipsis")
        else:
            self.console.print(Text(f"{time.strftime('%H:%M:%S')} {plain(text)}"), soft_wrap=True)

    def activity(self, text: str) -> None:
        """Print a line about what happens now, unless a bar shows it."""
        if not self.live:
            self.message(text)

    def _fit(self, text: str) -> str:
        """Cut a description to the width that the bar and the counters leave."""
        width = max(20, self.console.width - _BAR_WIDTH - 26)
        text = plain(text)
        return text if len(text) <= width else text[: width - 1] + "…"
