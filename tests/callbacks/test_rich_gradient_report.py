"""`RichGradientReport`: prints a report at the end of a fit."""

import pytest
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import RichProgressBar, TQDMProgressBar

from lightning_clip import GradientClipping, GradientMonitor, NormClip, RichGradientReport
from tests.support.training import Net, loader, quiet_trainer


def fit(*callbacks, **options):
    trainer = quiet_trainer(callbacks=list(callbacks), **options)
    trainer.fit(Net(), loader())
    return trainer


@pytest.mark.parametrize("bar", [None, RichProgressBar, TQDMProgressBar])
@pytest.mark.parametrize("report_first", [True, False])
def test_it_prints_once_under_every_progress_bar(bar, report_first, capsys):
    """The report has header, trajectory, parameters and duration, wherever the callback is in the list."""
    ours = [RichGradientReport(), GradientClipping(NormClip(0.5))]
    bars = [bar()] if bar else []
    fit(*(ours if report_first else ours[::-1]), *bars, enable_progress_bar=bool(bar))
    printed = capsys.readouterr().out
    assert printed.count("Gradient report: Net") == 1
    for part in (
        "NormClip(max_norm=0.5",
        "SGD(lr=0.05, momentum=0.9)",
        "12 optimizer steps in ",
        "net.0.weight",
        "  Clipping   clipped ",
    ):
        assert part in printed


def test_alone_it_adds_a_monitor(capsys):
    """Without another callback of this package it adds a `GradientMonitor`."""
    trainer = fit(RichGradientReport())
    assert sum(isinstance(callback, GradientMonitor) for callback in trainer.callbacks) == 1
    assert "NoClip()" in capsys.readouterr().out


def test_it_prints_after_an_exception(capsys):
    """The report shows the steps made before training failed."""

    class Failing(Net):
        def training_step(self, batch, batch_idx):
            if batch_idx == 3:
                raise RuntimeError("out of luck")
            return super().training_step(batch, batch_idx)

    trainer = quiet_trainer(callbacks=[RichGradientReport()])
    with pytest.raises(RuntimeError, match="out of luck"):
        trainer.fit(Failing(), loader())
    assert "3 optimizer steps" in capsys.readouterr().out


def test_a_fit_that_never_began_has_no_report(capsys):
    """If a conflict is rejected before the fit, nothing is printed."""
    trainer = quiet_trainer(callbacks=[GradientClipping(), RichGradientReport()], gradient_clip_val=1.0)
    with pytest.raises(MisconfigurationException):
        trainer.fit(Net(), loader())
    assert capsys.readouterr().out == ""


def test_other_ranks_are_silent(capsys, monkeypatch):
    """Only rank zero prints."""
    report = RichGradientReport()
    trainer = fit(GradientMonitor())
    trainer.callbacks.append(report)
    monkeypatch.setattr(type(trainer), "is_global_zero", property(lambda self: False))
    report.on_train_end(trainer, Net())
    assert capsys.readouterr().out == ""
