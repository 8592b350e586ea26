"""Shared by the benchmarks: timing of alternating runs, tables, a description of the machine.

A time is the processor time of this process, not that of a clock on the wall: what other programs take from it does not
count. Of the figures tried on a machine with ten other processes on two cores (each table three times over), the median
over short rounds of the quotient of two processor times was the steadiest that also holds for a rule that acts at some
steps only: it came back within 1% to 11%. With a wall clock, the same median moved by 5% to 470%, the quotient of the
least times by 8% to 252%, and the median over single steps left out the rarer kind of step.
"""

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import lightning
import torch
from rich.console import Console
from rich.table import Table as RichTable

import lightning_clip

Times = dict[str, list[float]]


@dataclass
class Table:
    """One table of a benchmark.

    Attributes:
        title: What is measured.
        columns: The headings; the first column names the rows.
        rows: The cells, as text.
        notes: How the figures were measured and why a target was missed, one paragraph each.
    """

    title: str
    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    notes: Sequence[str] = ()

    def add(self, *cells: object) -> None:
        """Append a row."""
        self.rows.append([str(cell) for cell in cells])

    def show(self) -> None:
        """Print the table."""
        table = RichTable(title=self.title, title_justify="left")
        for i, column in enumerate(self.columns):
            table.add_column(column, justify="right" if i else "left", overflow="fold")
        for row in self.rows:
            table.add_row(*row)
        Console(width=110).print(table)

    def markdown(self) -> str:
        """Return the table and its notes in Markdown."""
        lines = [
            f"## {self.title}",
            "",
            f"| {' | '.join(self.columns)} |",
            f"|{' --- |'} {'---: | ' * (len(self.columns) - 1)}".rstrip(),
            *(f"| {' | '.join(row)} |" for row in self.rows),
        ]
        return "\n".join([*lines, "", *(f"{note}\n" for note in self.notes)])


def in_turn(
    contenders: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    steps: int = 1,
    before: Callable[[], object] = lambda: None,
    clock: Callable[[], float] = time.process_time,
) -> Times:
    """Time several functions that do the same work; they alternate, and swap order, after each step.

    Args:
        contenders: The functions by name.
        rounds: The number of timings of each function; one untimed round before them warms up.
        steps: The number of steps per timing, which is their mean.
        before: A function that is called before each step and is not timed.
        clock: What times are read from; a wall clock if something else than this process works.

    Returns:
        Seconds per step: `rounds` timings of each contender, in order.
    """
    times: Times = {name: [] for name in contenders}
    for number in range(rounds + 1):
        total = dict.fromkeys(contenders, 0.0)
        for step in range(steps):
            order = list(contenders.items())
            for name, run in order if (number + step) % 2 else reversed(order):
                before()
                start = clock()
                run()
                total[name] += clock() - start
        if number:
            for name, seconds in total.items():
                times[name].append(seconds / steps)
    return times


def median(seconds: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(seconds)


def ratio(times: Times, ours: str, other: str) -> float:
    """Return the median over the rounds of the quotient of two times; what slows down a whole round cancels."""
    return median([a / b for a, b in zip(times[ours], times[other], strict=True)])


def spread(times: Times, ours: str, other: str) -> str:
    """Return the middle half of the quotients of two times, as text: the lower and the upper quartile."""
    quotients = sorted(a / b for a, b in zip(times[ours], times[other], strict=True))
    if len(quotients) < 4:
        return f"{quotients[0]:.2f}–{quotients[-1]:.2f}"
    low, _, high = statistics.quantiles(quotients, n=4)
    return f"{low:.2f}–{high:.2f}"


def duration(seconds: float) -> str:
    """Format a time in a suitable unit."""
    for unit, factor in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if abs(seconds) >= factor:
            return f"{seconds / factor:.3g} {unit}"
    return f"{seconds / 1e-6:.2f} µs"


def verdict(value: float, *, at_most: float | None = None, at_least: float | None = None) -> str:
    """Return the target and whether the value meets it."""
    if at_most is not None:
        return f"≤ {at_most:g} {'✓' if value <= at_most else '✗'}"
    return f"≥ {at_least:g} {'✓' if at_least is not None and value >= at_least else '✗'}"


def bandwidth(megabytes: int = 256, rounds: int = 7) -> float:
    """Return the bytes per second that one thread reads and writes, from in-place multiplication of a large tensor."""
    tensor = torch.ones(megabytes * 1024 * 1024 // 4)
    times = in_turn({"multiply": lambda: tensor.mul_(1.0)}, rounds=rounds)["multiply"]
    return 2 * tensor.nbytes / median(times)


def python(*args: str, **environment: str) -> list[str]:
    """Run a new interpreter with the same package as here and return the lines that it prints."""
    environment = {**os.environ, **environment, "PYTHONPATH": str(Path(lightning_clip.__file__).parents[1])}
    command = [sys.executable, *args]
    return subprocess.run(
        command, capture_output=True, check=True, encoding="utf-8", env=environment
    ).stdout.splitlines()


def machine() -> str:
    """Return the processor, the memory bandwidth and the versions in one line."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cpu = f"{len(names)} × {names[0]}" if names else platform.processor() or platform.machine()
    return (
        f"{cpu}; {bandwidth() / 1e9:.1f} GB/s memory bandwidth of one thread (measured); Python "
        f"{platform.python_version()}, torch {torch.__version__}, lightning {lightning.__version__}; "
        f"{torch.get_num_threads()} torch thread."
    )
