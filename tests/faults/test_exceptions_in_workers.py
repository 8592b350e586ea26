"""An exception in a process that the Trainer has forked: Lightning calls no `on_exception` there; nothing is lost."""

import pytest
from lightning.pytorch.plugins.environments import LightningEnvironment
from torch.multiprocessing import ProcessRaisedException

from lightning_clip import CsvSink, GradientClipping, JsonlSink, NormClip, RichGradientReport, load_record
from tests.support.training import Net, loader, quiet_trainer

STEP = 7


class Failing(Net):
    """Raises at a step, in one process or in both."""

    def __init__(self, ranks: tuple[int, ...]) -> None:
        super().__init__()
        self.ranks = ranks

    def training_step(self, batch, batch_idx):
        if self.global_step == STEP and self.global_rank in self.ranks:
            raise ValueError("mine")
        return super().training_step(batch, batch_idx)


@pytest.mark.parametrize("ranks", [(0,), pytest.param((0, 1), marks=pytest.mark.slow)], ids=str)
def test_an_exception_in_a_forked_process_loses_nothing(ranks, tmp_path, capfd):
    """The record is complete, closed with its totals, and the report is printed once, before the exception arrives."""
    sinks = [JsonlSink(tmp_path / "run.jsonl"), CsvSink(tmp_path / "run.csv")]
    callbacks = [GradientClipping(NormClip(0.7), sinks=sinks), RichGradientReport()]
    trainer = quiet_trainer(devices=2, strategy="ddp_fork", callbacks=callbacks, plugins=[LightningEnvironment()])
    with pytest.raises(ProcessRaisedException, match="ValueError: mine"):
        trainer.fit(Failing(ranks), loader(rows=160))
    record = load_record(tmp_path / "run.jsonl")
    assert [step.step for step in record.history] == list(range(STEP))
    assert record.history.parameters.names
    assert (tmp_path / "run.csv").read_text().count("NormClip") == STEP
    assert capfd.readouterr().out.count("Gradient report") == 1
