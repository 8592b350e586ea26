"""torchrun with two local processes runs the same script as a single process."""

import os
import subprocess
import sys

import pytest
import torch

from lightning_clip import read_jsonl
from tests.support.examples import EXAMPLES, example

SCRIPT = EXAMPLES / "05_torchrun.py"


def steps(directory):
    info, history = read_jsonl(directory / "run.jsonl")
    assert info.model == "MLPRegressor"
    return [record.step for record in history]


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this build of torch has no torch.distributed")
def test_two_processes_write_one_record_and_print_one_report(tmp_path, capsys):
    """Each step is recorded once, and there are half as many steps with twice the batch."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*launcher, str(SCRIPT), str(tmp_path / "two")],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Gradient report: MLPRegressor") == 1

    example("05_torchrun").main(tmp_path / "one")
    assert capsys.readouterr().out.count("Gradient report: MLPRegressor") == 1
    alone = steps(tmp_path / "one")
    assert alone == list(range(len(alone)))
    assert steps(tmp_path / "two") == list(range(len(alone) // 2))
