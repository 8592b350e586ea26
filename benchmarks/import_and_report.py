"""How long do the import and the report of a long record take? Run `python benchmarks/import_and_report.py`."""

import json
import random
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from measuring import Table, duration, median, python, verdict

from lightning_clip.core import RunInfo

IMPORT = (
    "import lightning, time; start = time.perf_counter(); import lightning_clip; print(time.perf_counter() - start)"
)
FIRST_USE = (
    "import lightning, time; start = time.perf_counter(); from lightning_clip import GradientClipping, NormClip; "
    "GradientClipping(NormClip(1.0)); print(time.perf_counter() - start)"
)
REPORT = (
    "import sys; from lightning_clip.cli.main import main; main(['report', sys.argv[1]]); "
    "print(*(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
)
NOTES = (
    "`import lightning_clip` imports none of the rooms: each is imported when one of its names is first used.",
    "The time is that of the whole command, including imports (torch alone takes more than a second). The record is "
    "246 MB and is parsed in blocks of 256 KiB by orjson, which the extra `fast` installs. Without it, Python's own "
    "JSON parser takes about two seconds more.",
)


def write_record(path: Path, steps: int) -> None:
    """Write a record in the format of `JsonlSink`."""
    draw = random.Random(0)
    with path.open("w", encoding="utf-8") as file:
        file.write(json.dumps({"run": asdict(RunInfo(model="Net", strategy="NormClip(max_norm=1.0)"))}) + "\n")
        for step in range(steps):
            norm = draw.lognormvariate(0.0, 0.5)
            coef = min(1.0, 1.0 / norm)
            file.write(
                f'{{"step": {step}, "optimizer": 0, "strategy": "NormClip(1.0)", "norm_before": {norm}, "norm_after": '
                f'{norm * coef}, "threshold": 1.0, "clip_coef": {coef}, "clipped": {str(coef < 1).lower()}, "finite": '
                f'true, "skipped": false, "loss": {norm}}}\n'
            )


def measure(*, rounds: int = 3, steps: int = 1_000_000) -> Table:
    """Return the table.

    Args:
        rounds: The number of new processes per figure.
        steps: The number of steps in the record.
    """
    table = Table("Import and report", ("what", "figure", "target"), notes=NOTES)
    seconds = median([float(python("-c", IMPORT)[-1]) for _ in range(rounds)])
    table.add("import lightning_clip, after import lightning", duration(seconds), verdict(seconds * 1e3, at_most=60))
    seconds = median([float(python("-c", FIRST_USE)[-1]) for _ in range(rounds)])
    table.add("first use: GradientClipping(NormClip(1.0)), after import lightning", duration(seconds), "")
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "run.jsonl"
        write_record(record, steps)
        times, peaks = [], []
        for _ in range(rounds):
            start = time.perf_counter()
            peaks.append(int(python("-c", REPORT, str(record))[-1]) * 1024 / 1e6)  # ru_maxrss would include the parent
            times.append(time.perf_counter() - start)
    table.add(f"lightning-clip report, {steps:,} steps", duration(median(times)), verdict(median(times), at_most=5))
    table.add("its peak memory", f"{median(peaks):.0f} MB", verdict(median(peaks), at_most=300))
    return table


if __name__ == "__main__":
    measure().show()
