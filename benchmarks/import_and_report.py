"""How long do the import and the report of a long record take? Run `python benchmarks/import_and_report.py`."""

import json
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from measuring import Table, duration, median, python, verdict

from lightning_clip.core import RunInfo

IMPORT = (
    "import lightning, time; start = time.process_time(); import lightning_clip; print(time.process_time() - start)"
)
FIRST_USE = (
    "import lightning, time; start = time.process_time(); from lightning_clip import GradientClipping, NormClip; "
    "GradientClipping(NormClip(1.0)); print(time.process_time() - start)"
)
REPORT = (
    "import sys; from lightning_clip.cli.main import main; main(['report', *sys.argv[1:]]); "
    "print(*(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
)
FORMS = {
    "report": ["{a}"],
    "report --json": ["{a}", "--json"],
    "report --html": ["{a}", "--html", "{page}"],
    "report, two records": ["{a}", "{b}"],
}
SHORT_STEPS = 800
SECONDS, MEGABYTES, PAGE_MEGABYTES = 6, 350, 3
NOTES = (
    "`import lightning_clip` imports none of the rooms: each is imported when one of its names is first used.",
    "The time of a report is that of the whole command on a wall clock, including imports (torch alone takes more than "
    "a second). The record is 246 MB and is parsed in blocks of 256 KiB by orjson, which the extra `fast` installs. "
    "Without it, Python's own JSON parser takes about two seconds more. Two records are read at the same time, in two "
    "processes; the memory is that of the first one. A page holds tables, pictures and the report of the terminal.",
    "A processor of twice the speed took 3.6 to 4.7 s for the four reports of 1,000,000 steps. What is left is to "
    "parse each line and to add up its columns; to divide one file among processes was not tried.",
)


def write_record(path: Path, steps: int, *, other_from: int | None = None, optimizers: int = 1) -> None:
    """Write a record in the format of `JsonlSink`.

    Args:
        path: The path of the file.
        steps: The number of steps.
        other_from: The step from which the norms are others; `None` for always the same.
        optimizers: The number of optimizers, which take turns.
    """
    draw = random.Random(0)
    with path.open("w", encoding="utf-8") as file:
        file.write(json.dumps({"run": asdict(RunInfo(model="Net", strategy="NormClip(max_norm=1.0)"))}) + "\n")
        for step in range(steps):
            norm = draw.lognormvariate(0.0, 0.5) * (1.0 if other_from is None or step < other_from else 1.01)
            coef = min(1.0, 1.0 / norm)
            file.write(
                f'{{"step": {step}, "optimizer": {step % optimizers}, "strategy": "NormClip(1.0)", '
                f'"norm_before": {norm}, "norm_after": {norm * coef}, "threshold": 1.0, "clip_coef": {coef}, '
                f'"clipped": {str(coef < 1).lower()}, "finite": true, "skipped": false, "loss": {norm}}}\n'
            )


def measure(*, rounds: int = 3, steps: int = 1_000_000, forms: Sequence[str] = tuple(FORMS)) -> Table:
    """Return the table.

    Args:
        rounds: The number of new processes per figure.
        steps: The number of steps in the record.
        forms: The names of the forms to measure.
    """
    table = Table("Import and report", ("what", "figure", "target"), notes=NOTES)
    seconds = median([float(python("-c", IMPORT)[-1]) for _ in range(rounds)])
    table.add("import lightning_clip, after import lightning", duration(seconds), verdict(seconds * 1e3, at_most=60))
    seconds = median([float(python("-c", FIRST_USE)[-1]) for _ in range(rounds)])
    table.add("first use: GradientClipping(NormClip(1.0)), after import lightning", duration(seconds), "")
    with tempfile.TemporaryDirectory() as folder:
        names = {"a": f"{folder}/run.jsonl", "b": f"{folder}/other.jsonl", "page": f"{folder}/page.html"}
        write_record(Path(names["a"]), steps)
        write_record(Path(names["b"]), steps, other_from=steps // 2)
        for form in forms:
            times, peaks = [], []
            for _ in range(rounds):
                start = time.perf_counter()
                peak = python("-c", REPORT, *(one.format(**names) for one in FORMS[form]))[-1]
                peaks.append(int(peak) * 1024 / 1e6)  # ru_maxrss would include the parent
                times.append(time.perf_counter() - start)
            seconds = median(times)
            table.add(f"lightning-clip {form}, {steps:,} steps", duration(seconds), verdict(seconds, at_most=SECONDS))
            table.add("its peak memory", f"{median(peaks):.0f} MB", verdict(median(peaks), at_most=MEGABYTES))
        for what, size in page_sizes(Path(folder), steps):
            table.add(f"page of {what}", f"{size / 1e6:.2f} MB", verdict(size / 1e6, at_most=PAGE_MEGABYTES))
    return table


def page_sizes(folder: Path, steps: int) -> Iterator[tuple[str, int]]:
    """Write pages and measure them.

    Args:
        folder: An empty folder with the records of `measure`.
        steps: The number of steps in these records.

    Yields:
        What is on the page, and its size in bytes.
    """
    write_record(folder / "short.jsonl", SHORT_STEPS)
    write_record(folder / "other-short.jsonl", SHORT_STEPS, other_from=SHORT_STEPS // 2)
    write_record(folder / "two-optimizers.jsonl", 2 * SHORT_STEPS, optimizers=2)
    pages = {
        f"{SHORT_STEPS:,} steps": ["short"],
        f"{SHORT_STEPS:,} steps, two records": ["short", "other-short"],
        f"{SHORT_STEPS:,} steps of each of two optimizers": ["two-optimizers"],
        f"{steps:,} steps": ["run"],
        f"{steps:,} steps, two records": ["run", "other"],
    }
    for what, names in pages.items():
        page = folder / "page.html"
        python("-c", REPORT, *(f"{folder}/{name}.jsonl" for name in names), "--html", str(page))
        yield what, page.stat().st_size


if __name__ == "__main__":
    measure().show()
