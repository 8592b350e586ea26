"""`GradientMonitor`: the record without clipping."""

import pytest
from lightning.fabric.utilities.exceptions import MisconfigurationException

from lightning_clip import CsvSink, GradientMonitor, JsonlSink
from lightning_clip.sinks import read_jsonl
from tests.support.training import Net, loader, quiet_trainer


def test_it_records_and_leaves_alone(tmp_path):
    """History and both sinks hold one row a step; nothing is clipped."""
    sinks = [JsonlSink(tmp_path / "run.jsonl"), CsvSink(tmp_path / "run.csv")]
    monitor = GradientMonitor(sinks=sinks, group_by={"first": ["net.0.*"]})
    trainer = quiet_trainer(callbacks=[monitor], log_every_n_steps=1)
    trainer.fit(Net(), loader())
    assert len(monitor.history) == 12
    assert monitor.history.aggregates[0].clipped == 0
    assert 0 < float(trainer.callback_metrics["grad_norm/first"]) <= float(trainer.callback_metrics["grad_norm/total"])
    run, history = read_jsonl(tmp_path / "run.jsonl")
    assert (run.model, run.strategy) == ("Net", "NoClip()")
    assert [record.norm_before for record in history] == [record.norm_before for record in monitor.history]
    assert len((tmp_path / "run.csv").read_text().splitlines()) == 1 + 12


def test_a_trainer_that_clips_beside_it_is_refused():
    """What the trainer does after it would not be in the record."""
    with pytest.raises(MisconfigurationException, match=r"gradient_clip_val=0\.5.*GradientMonitor\(\)"):
        quiet_trainer(callbacks=[GradientMonitor()], gradient_clip_val=0.5).fit(Net(), loader())
