"""`RichGradientReport`: prints a report at the end of a fit."""

import io
import sys
import warnings
from contextlib import nullcontext

import pytest
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ProgressBar, RichProgressBar, TQDMProgressBar
from torch import nn

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


def test_of_two_reports_one_prints(capsys):
    """The callback may be in the configuration of a project and of an experiment."""
    fit(RichGradientReport(), GradientClipping(NormClip(0.5)), RichGradientReport())
    assert capsys.readouterr().out.count("Gradient report: Net") == 1


class Failing(Net):
    """Fails in its fourth batch."""

    def training_step(self, batch, batch_idx):
        if batch_idx == 3:
            raise RuntimeError("out of luck")
        return super().training_step(batch, batch_idx)


@pytest.mark.parametrize("bar", [None, RichProgressBar, TQDMProgressBar])
def test_it_prints_after_an_exception(bar, capsys):
    """The report shows the steps made before training failed."""
    bars = [bar()] if bar else []
    trainer = quiet_trainer(callbacks=[RichGradientReport(), *bars], enable_progress_bar=bool(bar))
    with pytest.raises(RuntimeError, match="out of luck"):
        trainer.fit(Failing(), loader())
    printed = capsys.readouterr().out
    assert printed.count("3 optimizer steps") == printed.count("Gradient report") == 1


def test_a_fit_that_never_began_has_no_report(capsys):
    """If a conflict is rejected before the fit, nothing is printed."""
    trainer = quiet_trainer(callbacks=[GradientClipping(), RichGradientReport()], gradient_clip_val=1.0)
    with pytest.raises(MisconfigurationException):
        trainer.fit(Net(), loader())
    assert capsys.readouterr().out == ""


def test_other_ranks_are_silent(capsys, monkeypatch):
    """Only rank zero prints."""
    monkeypatch.setattr(Trainer, "is_global_zero", property(lambda self: False))
    fit(GradientMonitor(), RichGradientReport())
    assert capsys.readouterr().out == ""


def disabled(bar):
    bar.disable()
    return bar


@pytest.mark.parametrize(
    "bar",
    [
        lambda: TQDMProgressBar(refresh_rate=0),
        lambda: disabled(TQDMProgressBar()),
        lambda: RichProgressBar(refresh_rate=0),
        lambda: disabled(RichProgressBar()),
        lambda: TQDMProgressBar(leave=True),
    ],
)
@pytest.mark.parametrize("is_failing", [False, True])
def test_a_silent_bar_does_not_silence_the_report(bar, is_failing, capsys):
    """Lightning's bars print nothing while they are disabled or closed; the report goes to standard output."""
    trainer = quiet_trainer(callbacks=[bar(), RichGradientReport()], enable_progress_bar=True)
    with pytest.raises(RuntimeError) if is_failing else nullcontext():
        trainer.fit(Failing() if is_failing else Net(), loader())
    assert capsys.readouterr().out.count("Gradient report") == 1


@pytest.mark.parametrize("bar", [RichProgressBar, TQDMProgressBar])
def test_it_comes_after_the_progress_bar(bar, capsys):
    """Nothing of Lightning's follows the report."""
    fit(RichGradientReport(), bar(), enable_progress_bar=True)
    printed = capsys.readouterr().out
    assert 0 <= printed.rindex("Epoch 1") < printed.index("Gradient report: Net")
    assert printed.rstrip().endswith("╯")


class Saying(ProgressBar):
    """A progress bar of the user's, which only prints."""

    def __init__(self):
        super().__init__()
        self.said = []

    def disable(self):
        pass

    def print(self, *args, **kwargs):
        self.said += args


def test_a_bar_of_the_users_prints_the_report(capsys):
    """Another progress bar gets the report as text."""
    bar = Saying()
    fit(bar, RichGradientReport(), enable_progress_bar=True)
    assert [text.startswith("Gradient report: Net") for text in bar.said] == [True]
    assert capsys.readouterr().out == ""


def test_each_fit_prints_once(capsys):
    """A second fit prints once more, and what fails between fits prints nothing."""

    class Untestable(Net):
        def test_step(self, batch, batch_idx):
            raise RuntimeError("no test")

    trainer, module = quiet_trainer(callbacks=[RichGradientReport()]), Untestable()
    trainer.fit(module, loader())
    assert capsys.readouterr().out.count("Gradient report") == 1
    with pytest.raises(RuntimeError, match="no test"):
        trainer.test(module, loader(), verbose=False)
    assert capsys.readouterr().out == ""
    trainer.fit_loop.max_epochs = 3
    trainer.fit(module.train(), loader())
    assert capsys.readouterr().out.count("Gradient report") == 1


def test_an_exception_after_the_last_step_prints_once(capsys):
    """A fit that fails at its very end is reported, and not twice."""

    class FailsAtTheEnd(Net):
        def on_fit_end(self):
            raise RuntimeError("too late")

    with pytest.raises(RuntimeError, match="too late"):
        quiet_trainer(callbacks=[RichGradientReport()]).fit(FailsAtTheEnd(), loader())
    assert capsys.readouterr().out.count("Gradient report") == 1


class Limited(io.TextIOWrapper):
    """Standard output in an encoding that lacks characters."""

    def __init__(self, encoding, errors="strict"):
        super().__init__(io.BytesIO(), encoding=encoding, errors=errors)

    def text(self):
        self.flush()
        return self.buffer.getvalue().decode(self.encoding)


@pytest.mark.parametrize("bar", [None, RichProgressBar, TQDMProgressBar])
@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "latin-1"])
def test_a_limited_output_gets_ascii(bar, encoding, monkeypatch):
    """What the output's encoding lacks is written in ASCII, under every progress bar that can write there itself."""
    out = Limited(encoding, errors="replace" if bar is RichProgressBar else "strict")
    monkeypatch.setattr(sys, "stdout", out)
    bars = [bar()] if bar else []
    fit(GradientClipping(NormClip(0.5)), RichGradientReport(), *bars, enable_progress_bar=bool(bar))
    printed = out.text()
    assert printed.count("Gradient report: Net -----") == 1
    assert "+-----" in printed
    assert "  = norm before clipping   : cut off   -- threshold" in printed


class Closed(io.StringIO):
    """Standard output that takes nothing."""

    def write(self, text):
        raise BrokenPipeError("the pipe is closed")


def test_an_output_that_fails_is_one_warning(monkeypatch):
    """The fit goes on when its report cannot be printed."""
    monkeypatch.setattr(sys, "stdout", Closed())
    with pytest.warns(UserWarning, match=r"^RichGradientReport cannot print its report: the pipe is closed$") as caught:
        trainer = fit(GradientClipping(), GradientMonitor(), RichGradientReport())
    assert sum("RichGradientReport" in str(warning.message) for warning in caught) == 1
    assert trainer.global_step == 12


def test_a_report_that_fails_does_not_replace_the_exception(monkeypatch):
    """The user sees their own exception, also where warnings are errors."""

    def broken(*args, **kwargs):
        raise KeyError("a bug of ours")

    monkeypatch.setattr("lightning_clip.reports.console.render_report", broken)
    for expected in (nullcontext(), pytest.warns(UserWarning, match="cannot print its report: 'a bug of ours'")):
        with expected, pytest.raises(RuntimeError, match="out of luck"):
            quiet_trainer(callbacks=[RichGradientReport()]).fit(Failing(), loader())


def test_without_optimizers_there_is_no_report(capsys):
    """A module that configures no optimizer makes no step, so there is nothing to report."""

    class WithoutOptimizer(Net):
        def configure_optimizers(self):
            return None

    with pytest.warns(UserWarning, match="returned `None`, this fit will run with no optimizer"):
        quiet_trainer(callbacks=[GradientClipping(), RichGradientReport()]).fit(WithoutOptimizer(), loader())
    assert capsys.readouterr().out == ""


def test_a_lazy_layer_is_reported(capsys):
    """Parameters that get their size with the first batch appear in the report."""

    class Lazy(Net):
        def __init__(self):
            super().__init__()
            self.net[0] = nn.LazyLinear(3)

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Lazy modules are a new feature")
        quiet_trainer(callbacks=[RichGradientReport()]).fit(Lazy(), loader())
    assert "net.0.weight" in capsys.readouterr().out
