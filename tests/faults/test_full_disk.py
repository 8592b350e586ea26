"""A disk that fills while `lightning-clip fit` saves a checkpoint: one line, and the record and the report are kept."""

import pytest

from lightning_clip import load_record
from tests.faults.bad_input.fits import ALWAYS, TABLE
from tests.faults.test_sinks import full_disk
from tests.support.command import call

CALLBACKS = """\
trainer:
  callbacks:
    - class_path: GradientClipping
      init_args: {strategy: norm, sinks: [{class_path: lightning_clip.JsonlSink, init_args: {path: run.jsonl}}]}
    - RichGradientReport
    - class_path: ModelCheckpoint
      init_args: {dirpath: full}
"""


@pytest.mark.filterwarnings("ignore:Checkpoint directory")
def test_a_checkpoint_that_does_not_fit_on_the_disk(tmp_path, monkeypatch, capsys):
    """The line names the checkpoint, and the record and the report are there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text(CALLBACKS)
    with full_disk(tmp_path / "full"):
        code = call("fit", *ALWAYS, "--trainer.enable_checkpointing=true", *TABLE, "--config=c.yaml")
    printed = capsys.readouterr()
    assert code == 2
    assert "No space left on device" in printed.err.splitlines()[-1]
    assert "full/epoch=0-step=1.ckpt" in printed.err.splitlines()[-1]
    assert "Traceback" not in printed.err
    assert "Gradient report: MLPRegressor" in printed.out
    assert len(load_record(tmp_path / "run.jsonl").history) == 1
