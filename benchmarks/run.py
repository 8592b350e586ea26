"""All benchmarks, into `RESULTS.md`: `make bench`."""

import time
from pathlib import Path

import engine
import growth
import host_reads
import import_and_report
import tbptt
import torch
import trainer
from measuring import Table, machine

RESULTS = Path(__file__).parent / "RESULTS.md"
BENCHMARKS = (engine, trainer, growth, host_reads, tbptt, import_and_report)
HEAD = """\
# What it costs

Written by `make bench`. Both sides of a ratio are measured in turn, in one process, after a warm-up; times are medians.
Read the ratios: the times are those of this machine. ✓ and ✗ say whether a figure is what was asked for.

Machine: {machine}

CUDA was not measured: there was no such device. `python benchmarks/on_cuda.py` measures it where there is one.
"""


def results(tables: list[Table]) -> str:
    """The file."""
    return "\n".join([HEAD.format(machine=machine()), *(table.markdown() for table in tables)])


def main() -> None:
    """Run all, print each table, write the file."""
    torch.set_num_threads(1)
    start, tables = time.perf_counter(), []
    for benchmark in BENCHMARKS:
        tables.append(benchmark.measure())
        tables[-1].show()
    RESULTS.write_text(results(tables), encoding="utf-8")
    print(f"{time.perf_counter() - start:.0f} s; written to {RESULTS}")


if __name__ == "__main__":
    main()
