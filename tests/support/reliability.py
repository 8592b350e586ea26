"""Runs the tests of faults in their long form and writes the table `docs/reliability.md`: `make reliability`."""

import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
TARGET = ROOT / "docs" / "reliability.md"


class Kind(NamedTuple):
    """A kind of fault: the file of its tests, its name, what one trial is, and what counts as lost."""

    file: str
    name: str
    trial: str
    lost: str


KINDS = (
    Kind(
        "test_kill.py",
        "SIGKILL",
        "A run is killed at a random call, once or twice, or its record or checkpoint is torn; it is started again.",
        "Weights, optimizer or callback states that differ in one bit from those of a run that was never stopped, or a "
        "record that is not complete.",
    ),
    Kind(
        "test_exceptions",
        "exceptions",
        "User code or a logger raises an exception at one place of a fit, or Ctrl-C arrives at a random call.",
        "An exception that does not arrive as it would without this package, a step that is missing in the history or "
        "in the file, a report that is not printed.",
    ),
    Kind(
        "test_sinks.py",
        "sinks",
        "A file cannot be written: full disk, size limit, no permission, taken place, removed folder, closed file.",
        "A training that ends or changes, a second warning, a step that is missing in the history or in another sink.",
    ),
    Kind(
        "test_full_disk.py",
        "full disk",
        "The disk fills while a checkpoint is saved.",
        "More than one line, a step that is missing in the record, a report that is not printed.",
    ),
    Kind(
        "test_second_life.py",
        "second life",
        "Callbacks are used again: a second fit, copies, another model, a tuner, a resume, an evaluation.",
        "Weights or states that differ in one bit from those of new callbacks.",
    ),
    Kind(
        "test_poison.py",
        "poison",
        "One batch is NaN, infinite or huge, in one mode of training, under one policy.",
        "Parameters, optimizer states or poisoned buffers that differ in one bit from a run without the batch.",
    ),
    Kind(
        "test_bad_input",
        "bad input",
        "One wrong argument, file, configuration or command.",
        "More or less than one clear line, a traceback, or a file that is changed or left behind.",
    ),
    Kind(
        "test_untrusted_files.py",
        "untrusted files",
        "A checkpoint, record, array or configuration hides code.",
        "Code that runs, or a file that is not refused.",
    ),
    Kind(
        "test_concurrency.py",
        "concurrency",
        "Two runs write one record, or two studies one folder.",
        "A byte of the first one that changes, or a second one that is not refused.",
    ),
    Kind(
        "test_long_runs.py",
        "long runs",
        "Very many steps of the engine, and of a Trainer with all callbacks; the numbers are below.",
        "Memory at the end above 1.05 times that after an early step.",
    ),
    Kind(
        "test_upstream.py",
        "Lightning's style",
        "Tests in the style of Lightning's own, with our callbacks on every Trainer.",
        "A test that fails only with our callbacks, without a reason in the list.",
    ),
)


class Counts:
    """A pytest plugin that counts trials and losses by kind. A test is one trial, unless it records `tried`."""

    def __init__(self) -> None:
        self.tried: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self.measured: dict[str, list[str]] = defaultdict(list)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        file = Path(report.nodeid.partition("::")[0]).name
        name = next((kind.name for kind in KINDS if file.startswith(kind.file)), "")
        own = dict(report.user_properties)
        if report.skipped:
            self.skipped[name] += 1
        elif report.when == "call":
            self.tried[name] += int(own.get("tried", 1))
            self.lost[name] += int(own.get("lost", 0)) or int(report.failed)
            if "measured" in own:
                self.measured[name].append(str(own["measured"]))
        elif report.failed:
            self.lost[name] += 1


def table(counts: Counts) -> str:
    """Write what was counted as a page in Markdown."""
    lines = [
        "# Reliability",
        "",
        "What was tried to lose data, and what was lost. `make reliability` runs the tests in `tests/faults` in their",
        "long form and writes this page; `make test` runs a short form of each kind.",
        "",
        "| kind | tried | lost | one trial | what counts as lost |",
        "|---|---|---|---|---|",
    ]
    tried = [kind for kind in KINDS if counts.tried[kind.name] or counts.lost[kind.name]]
    lines += [
        f"| {kind.name} | {counts.tried[kind.name]:,} | {counts.lost[kind.name]:,} | {kind.trial} | {kind.lost} |"
        for kind in tried
    ]
    lines += ["", *(f"- {kind.name}: {text}." for kind in tried for text in sorted(counts.measured[kind.name]))]
    lines += [
        f"- {kind.name}: {counts.skipped[kind.name]} not tried, for lack of a permission or a package."
        for kind in tried
        if counts.skipped[kind.name]
    ]
    return "\n".join(lines).rstrip() + "\n"


def main(arguments: list[str]) -> int:
    """Run the tests, write the page, and return the exit code of pytest."""
    counts = Counts()
    code = pytest.main(["-q", "-m", "slow or not slow", str(ROOT / "tests" / "faults"), *arguments], plugins=[counts])
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        return int(code)
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(table(counts), encoding="utf-8")
    return int(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
