"""torchrun with two local processes runs the same script as a single process."""

import pytest
import torch

from lightning_clip import read_jsonl
from tests.support.examples import EXAMPLES, example
from tests.support.fresh import run

SCRIPT = EXAMPLES / "05_torchrun.py"
# What `torchrun` does, but for its processes: they are forked, and need not import Lightning again.
TORCHRUN = """
import runpy, sys
from torch.distributed import run
from torch.distributed.launcher.api import elastic_launch

def script(*argv):
    sys.argv = list(argv)
    runpy.run_path(argv[0], run_name="__main__")

config, _, argv = run.config_from_args(run.parse_args(sys.argv[1:]))
config.start_method = "fork"
elastic_launch(config, script)(*argv[1:])
"""


def steps(directory):
    info, history = read_jsonl(directory / "run.jsonl")
    assert info.model == "MLPRegressor"
    return [record.step for record in history]


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this build of torch has no torch.distributed")
def test_two_processes_write_one_record_and_print_one_report(tmp_path, capsys):
    """Each step is recorded once, and there are half as many steps with twice the batch."""
    standalone = ["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0"]
    arguments = [*standalone, "--nproc-per-node=2", str(SCRIPT), str(tmp_path / "two")]
    done = run(["-c", TORCHRUN, *arguments], tmp_path, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Gradient report: MLPRegressor") == 1

    example("05_torchrun").main(tmp_path / "one")
    assert capsys.readouterr().out.count("Gradient report: MLPRegressor") == 1
    alone = steps(tmp_path / "one")
    assert alone == list(range(len(alone)))
    assert steps(tmp_path / "two") == list(range(len(alone) // 2))
