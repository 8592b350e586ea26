"""Runs the tests of Lightning without and with our callbacks on every Trainer, and compares: `make test-upstream`.

A test that fails only with our callbacks is run again, without and with them, because some tests depend on time or on
the order. What fails again is run with stand-ins: callbacks of nobody, which keep state, log a metric and print a line.
A test that fails with those as well forbids any callback. Everything else has to be in the list of known differences.

What the tests print goes to files in `build/upstream`; the terminal gets one table.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
LOGS = ROOT / "build" / "upstream"
KNOWN = Path(__file__).with_name("upstream_known.txt")
FORBIDS = "fails with any callback that keeps state, logs a metric and prints a line"
SILENCE = 600  # seconds without a result after which a process is killed; a test alone may take 300
# The configuration of Lightning makes errors of these warnings. A torch that is newer than Lightning has some that
# Lightning does not know, and then every test fails without our callbacks as well, and nothing is compared.
WARNINGS = ("-W", "default::FutureWarning")
HEADER = (
    f"{'callbacks':<12}{'passed':>8}{'failed':>8}{'skipped':>8}{'files not read':>16}{'Trainers':>10}{'seconds':>9}"
)


class Outcomes(NamedTuple):
    """How the tests of one run ended.

    Attributes:
        by_test: `"passed"`, `"skipped"`, `"failed"` or `"crashed"` by test.
        trainers: The number of Trainers that got callbacks.
        unread: The files that could not be imported, each with the last line of the error.
        errors: The last line of the error by failed test.
        seconds: How long the run took.
    """

    by_test: dict[str, str]
    trainers: int
    unread: dict[str, str]
    errors: dict[str, str]
    seconds: float

    def failed(self) -> set[str]:
        return {test for test, outcome in self.by_test.items() if outcome in ("failed", "crashed")}

    def row(self, name: str) -> str:
        """This run as a row of the table."""
        of = Counter(self.by_test.values())
        failed = of["failed"] + of["crashed"]
        counts = f"{of['passed']:>8,}{failed:>8,}{of['skipped']:>8,}{len(self.unread):>16,}{self.trainers:>10,}"
        return f"{name:<12}{counts}{self.seconds:>9,.0f}"


def run(what: str, folder: Path, arguments: Sequence[str], tests: Sequence[str] = ()) -> Outcomes:
    """Run the tests of a folder, or some of them, with callbacks attached; go on after a test that ends the process."""
    by_test: dict[str, str] = {}
    unread: dict[str, str] = {}
    errors: dict[str, str] = {}
    trainers, begin = 0, time.monotonic()
    root = root_of(folder)
    files = sorted({str(root / test.partition("::")[0]) for test in tests}) or [str(folder)]
    options = ["--rootdir", str(root), "-q", "-p", "no:cacheprovider", "--continue-on-collection-errors", *WARNINGS]
    with tempfile.TemporaryDirectory() as place:
        results, chosen = Path(place) / "results.jsonl", Path(place) / "chosen.json"
        while True:
            results.write_text("", encoding="utf-8")
            chosen.write_text(json.dumps({"only": list(tests), "without": list(by_test)}), encoding="utf-8")
            plugin = ["-m", "tests.support.upstream_plugin", what, str(results), str(chosen)]
            python([*plugin, *options, *arguments, *files], Path(place))
            lines = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
            ended = {line["test"]: line["outcome"] for line in lines if "outcome" in line}
            begun = {line["test"]: "crashed" for line in lines if "test" in line}
            by_test |= begun | ended
            errors |= {test: "the process ended" for test in begun if test not in ended}
            errors |= {line["test"]: line["error"] for line in lines if "test" in line and line.get("error")}
            unread |= {line["unread"]: line["error"] for line in lines if "unread" in line}
            trainers += sum(line.get("trainers", 0) for line in lines)
            if not begun or "finished" in lines[-1]:
                return Outcomes(by_test, trainers, unread, errors, time.monotonic() - begin)


def python(arguments: Sequence[str], cwd: Path) -> None:
    """Run an interpreter of its own, which finds the tests of this package; end it when it is silent for too long."""
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    results = Path(arguments[3])
    LOGS.mkdir(parents=True, exist_ok=True)
    with (LOGS / f"{arguments[2]}.log").open("a", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": paths},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            while process.poll() is None:
                time.sleep(0.2)
                if time.time() - results.stat().st_mtime > SILENCE:
                    process.kill()
        finally:
            process.kill()


def root_of(folder: Path) -> Path:
    """The folder that the names of tests begin with: that of the configuration of pytest, if there is one."""
    for parent in folder.resolve().parents:
        if (parent / "pyproject.toml").exists() and (parent / "src" / "lightning").exists():
            return parent
    return folder.resolve()


def known() -> dict[str, str]:
    """Patterns of tests that may fail with our callbacks, each with its reason."""
    lines = [line.partition("  # ") for line in KNOWN.read_text(encoding="utf-8").splitlines()]
    return {test.strip(): reason for test, _, reason in lines if test and not test.startswith("#")}


class Comparison(NamedTuple):
    """What two runs differ in.

    Attributes:
        reasons: The tests that fail with our callbacks only, with a reason for each; an empty one if there is none.
        without: The run without callbacks.
        ours: The run with our callbacks.
    """

    reasons: dict[str, str]
    without: Outcomes
    ours: Outcomes

    def unexplained(self) -> list[str]:
        return [test for test, reason in self.reasons.items() if not reason]

    def is_blind(self) -> bool:
        """Whether more than half of the tests fail without our callbacks too, so that they cannot tell anything."""
        return 2 * len(self.without.failed()) > sum(value != "skipped" for value in self.without.by_test.values())


def compare(folder: Path, arguments: Sequence[str]) -> Comparison:
    """Find the tests that fail with our callbacks only."""
    print(HEADER, flush=True)
    without = run("nothing", folder, arguments)
    print(without.row("none"), flush=True)
    ours = run("ours", folder, arguments)
    print(ours.row("ours"), flush=True)
    new = sorted(ours.failed() - without.failed())
    if new:
        again = run("ours", folder, arguments, new).failed() - run("nothing", folder, arguments, new).failed()
        new = sorted(again)
    forbidding = run("stand-in", folder, arguments, new).failed() if new else set()
    listed = known()
    reasons = {}
    for test in new:
        matching = [reason for pattern, reason in listed.items() if fnmatchcase(test, pattern)]
        reasons[test] = matching[0] if matching else FORBIDS if test in forbidding else ""
    return Comparison(reasons, without, ours)


def main(arguments: list[str]) -> int:
    """Compare, and print what is new; the exit code is 1 if something has no reason, or if nothing was compared."""
    folder = Path(arguments[0]).resolve() if arguments and arguments[0] else Path()
    if not arguments or not arguments[0] or not folder.is_dir():
        print("LIGHTNING_TESTS: name the folder tests/tests_pytorch of a checkout of Lightning", file=sys.stderr)
        return 2
    for log in LOGS.glob("*.log"):
        log.unlink()
    result = compare(folder, arguments[1:])
    for file, error in (result.without.unread | result.ours.unread).items():
        print(f"not read: {file}  # {error}")
    for test, reason in result.reasons.items():
        print(f"{test}  # {reason or 'NEW FAILURE: ' + result.ours.errors.get(test, '')}")
    ran = sum(outcome != "skipped" for outcome in result.ours.by_test.values())
    failing, bare = len(result.reasons), len(result.unexplained())
    print(f"{ran} tests with our callbacks on {result.ours.trainers} Trainers: {failing} fail only with them, ", end="")
    print(f"{bare} of these without a reason. What the tests printed is in {LOGS}.")
    if not ran or result.is_blind():
        print("Most tests fail without our callbacks too, so this compares nothing: see the log of `nothing`.")
    return int(not ran or result.is_blind() or bool(result.unexplained()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
