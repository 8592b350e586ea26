"""Runs the tests of Lightning without and with our callbacks on every Trainer, and compares: `make test-upstream`.

A test that fails only with our callbacks is run again, without and with them, because some tests depend on time or on
the order. What fails again is run with stand-ins: callbacks of nobody, which keep state, log a metric and print a line.
A test that fails with those as well forbids any callback. Everything else has to be in the list of known differences.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
KNOWN = Path(__file__).with_name("upstream_known.txt")
FORBIDS = "fails with any callback that keeps state, logs a metric and prints a line"


class Outcomes(NamedTuple):
    """How the tests of one run ended: `"passed"`, `"skipped"`, `"failed"` or `"crashed"` by test, and its Trainers."""

    by_test: dict[str, str]
    trainers: int

    def failed(self) -> set[str]:
        return {test for test, outcome in self.by_test.items() if outcome in ("failed", "crashed")}


def run(what: str, folder: Path, arguments: Sequence[str], tests: Sequence[str] = ()) -> Outcomes:
    """Run the tests of a folder, or some of them, with callbacks attached; go on after a test that ends the process."""
    by_test: dict[str, str] = {}
    trainers = 0
    with tempfile.TemporaryDirectory() as place:
        results = Path(place) / "results.jsonl"
        while True:
            root = root_of(folder)
            skipped = [option for test in by_test for option in ("--deselect", test)]
            targets = [str(root / test) for test in tests] or [str(folder)]
            options = ["--rootdir", str(root), "-q", "-p", "no:cacheprovider", *arguments, *skipped]
            results.write_text("", encoding="utf-8")
            python(["-m", "tests.support.upstream_plugin", what, str(results), *options, *targets], Path(place))
            lines = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
            ended = {line["test"]: line["outcome"] for line in lines if "outcome" in line}
            by_test |= {line["test"]: "crashed" for line in lines if "test" in line} | ended
            trainers += sum(line.get("trainers", 0) for line in lines)
            if not lines or "finished" in lines[-1]:
                return Outcomes(by_test, trainers)


def python(arguments: Sequence[str], cwd: Path) -> None:
    """Run an interpreter of its own, which finds the tests of this package."""
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    subprocess.run([sys.executable, *arguments], cwd=cwd, env={**os.environ, "PYTHONPATH": paths}, check=False)


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


def compare(folder: Path, arguments: Sequence[str]) -> tuple[dict[str, str], Outcomes]:
    """Find the tests that fail with our callbacks only, with a reason for each; an empty one if there is none."""
    without, ours = run("nothing", folder, arguments), run("ours", folder, arguments)
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
    return reasons, ours


def main(arguments: list[str]) -> int:
    """Compare, and print what is new; the exit code is 1 if something has no reason."""
    folder = Path(arguments[0]).resolve() if arguments else Path()
    if not arguments or not folder.is_dir():
        print("LIGHTNING_TESTS: name the folder tests/tests_pytorch of a checkout of Lightning", file=sys.stderr)
        return 2
    reasons, ours = compare(folder, arguments[1:])
    for test, reason in reasons.items():
        print(f"{test}  # {reason or 'NEW FAILURE'}")
    unexplained = sum(not reason for reason in reasons.values())
    ran = sum(outcome != "skipped" for outcome in ours.by_test.values())
    print(f"{ran} tests with our callbacks on {ours.trainers} Trainers: {len(reasons)} fail only with them, ", end="")
    print(f"{unexplained} of these without a reason.")
    return int(unexplained > 0 or not ran)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
