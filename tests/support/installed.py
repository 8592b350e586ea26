"""Runs the tests against an installed copy of the package, in a folder without its source: `make test-wheel`."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[2]
TESTS = ("callbacks", "cli", "core", "datamodules", "modules", "reports", "sinks", "strategies", "studies")
CHECK = "import sys, lightning_clip; sys.exit(not lightning_clip.__file__.startswith(sys.argv[1]))"


def main(installed: Path, rooms: Sequence[str]) -> int:
    """Run the tests of the rooms, and return the exit code."""
    with TemporaryDirectory() as folder:
        for name in ("tests", "configs", "benchmarks", "examples"):  # some tests call what is in the last three
            shutil.copytree(ROOT / name, Path(folder, name), ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", folder)
        environment = {**os.environ, "PYTHONPATH": str(installed)}
        subprocess.run([sys.executable, "-c", CHECK, str(installed)], cwd=folder, env=environment, check=True)
        command = [sys.executable, "-m", "pytest", "-q", "-n", "2", *(f"tests/{room}" for room in rooms)]
        return subprocess.run(command, cwd=folder, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve(), sys.argv[2:] or TESTS))
