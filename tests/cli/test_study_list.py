"""`lightning-clip compare --list`: the built-in studies."""

import subprocess
import sys

from lightning_clip.cli.study_list import study_list
from lightning_clip.studies import built_in_studies


def test_each_study_has_its_time_and_a_line():
    """A study takes two lines: its name with its time, and what it shows."""
    lines = study_list().splitlines()
    names, about = lines[: len(lines) - 2 : 2], lines[1 : len(lines) - 2 : 2]
    assert [line.split()[0] for line in names] == built_in_studies()
    assert all(line.endswith(" on 2 cores") for line in names)
    assert all(line.startswith("    ") and line.endswith(".") for line in about)
    assert "about 10 seconds" in next(line for line in names if line.startswith("gradient-flow"))


def test_listing_imports_neither_torch_nor_lightning():
    """The list is there at once."""
    code = (
        "import sys; from lightning_clip.cli.main import main; main(['compare', '--list']); "
        "sys.exit(bool({'torch', 'lightning'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0
