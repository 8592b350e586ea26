"""Run all benchmarks and write `RESULTS.md`: `make bench`."""

import time
from pathlib import Path

import engine
import floor
import growth
import host_reads
import import_and_report
import rules
import tbptt
import torch
import trainer
from measuring import Table, machine

RESULTS = Path(__file__).parent / "RESULTS.md"
BENCHMARKS = (engine, rules, floor, trainer, growth, host_reads, tbptt, import_and_report)
HEAD = """\
# What it costs

Written by `make bench`. The two sides of a ratio alternate in one process and swap order, after a warmup. A time is
processor time, which other programs on the machine hardly change, and the median over short rounds. A ratio is the
median over the rounds of the quotient of the two times of a round; brackets hold the middle half of these quotients.
(`benchmarks/measuring.py` says what else was tried.) Read the ratios, because the times depend on the machine. ✓ and ✗
show whether a figure meets its target.

Machine: {machine}

CUDA was not measured because there was no such device; `python benchmarks/on_cuda.py` measures it.
"""


def results(tables: list[Table]) -> str:
    """Return the text of the file."""
    return "\n".join([HEAD.format(machine=machine()), *(table.markdown() for table in tables)])


def main() -> None:
    """Run every benchmark, print each table and write the file."""
    torch.set_num_threads(1)
    start, tables = time.perf_counter(), []
    for benchmark in BENCHMARKS:
        tables.append(benchmark.measure())
        tables[-1].show()
    RESULTS.write_text(results(tables), encoding="utf-8")
    print(f"{time.perf_counter() - start:.0f} s; written to {RESULTS}")


if __name__ == "__main__":
    main()
