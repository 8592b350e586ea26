"""What importing the package and reading a long record take: `python benchmarks/import_and_report.py`."""

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
REPORT = (
    "import sys; from lightning_clip.cli.main import main; main(['report', sys.argv[1]]); "
    "print(*(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
)
NOTES = (
    "The package imports its parts when a name is first used: `import lightning_clip` loads none of them.",
    "The time is that of the whole command, its imports (torch among them, more than a second) included. The record "
    "has 246 MB and is parsed in blocks of 256 KiB by orjson, of the extra `fast`; without it Python's own JSON parser "
    "takes about two seconds more.",
)


def write_record(path: Path, steps: int) -> None:
    """A record as `JsonlSink` writes it."""
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
    """The table.

    Args:
        rounds: New processes for each figure.
        steps: Steps in the record.
    """
    table = Table("Import and report", ("what", "figure", "asked"), notes=NOTES)
    seconds = median([float(python("-c", IMPORT)[-1]) for _ in range(rounds)])
    table.add("import lightning_clip, after import lightning", duration(seconds), verdict(seconds * 1e3, at_most=60))
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "run.jsonl"
        write_record(record, steps)
        times, peaks = [], []
        for _ in range(rounds):
            start = time.perf_counter()
            peaks.append(int(python("-c", REPORT, str(record))[-1]) * 1024 / 1e6)  # ru_maxrss is that of the parent too
            times.append(time.perf_counter() - start)
    table.add(f"lightning-clip report, {steps:,} steps", duration(median(times)), verdict(median(times), at_most=5))
    table.add("its peak memory", f"{median(peaks):.0f} MB", verdict(median(peaks), at_most=300))
    return table


if __name__ == "__main__":
    measure().show()
