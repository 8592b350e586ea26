"""The two monitors of recurrent layers: what goes wrong with them never reaches the training."""

import copy
import itertools
import pickle
import warnings

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy
from torch import nn
from torch.utils.checkpoint import checkpoint

from lightning_clip import GradientMonitor, RecurrentSpectrumMonitor, TemporalGradientMonitor
from lightning_clip._errors import InputError
from lightning_clip.callbacks.monitors import (
    _layer_call,
    _targets,
    recurrent_spectrum_monitor,
    temporal_gradient_monitor,
)
from lightning_clip.core.recurrent import spectrum_probe
from tests.support.fresh import run
from tests.support.recurrent import FEATURES, Recurrent, notices, sequences
from tests.support.training import Net, assert_same_weights, loader, quiet_trainer

MONITORS = {
    "temporal": lambda: TemporalGradientMonitor(every_n_steps=4),
    "spectrum": lambda: RecurrentSpectrumMonitor(4),
}
KINDS = {TemporalGradientMonitor: "temporal-gradient", RecurrentSpectrumMonitor: "recurrent-spectrum"}
both = pytest.mark.parametrize("make", MONITORS.values(), ids=MONITORS.keys())


def fit(module, *callbacks, data=None, ckpt_path=None, **options):
    trainer = quiet_trainer(**{"callbacks": list(callbacks), "max_epochs": 2, **options})
    trainer.fit(module, sequences() if data is None else data, ckpt_path=ckpt_path)
    return trainer


def hooks_of(layer):
    return [*layer._forward_hooks, *layer._forward_pre_hooks]


def measured(monitor):
    """Everything that the monitor shows."""
    return str(list(monitor.profiles)) if isinstance(monitor, TemporalGradientMonitor) else str(monitor.latest)


def taken(observer):
    """Every measurement that reached an observer."""
    return str([observer.history.measurements.of(kind) for kind in KINDS.values()])


def fail(error):
    def raises(*_, **__):
        raise error

    return raises


PLACES = {
    "finding": (temporal_gradient_monitor, "find_targets", "temporal"),
    "noting": (_layer_call.LayerCall, "of", "temporal"),
    "measuring": (_targets, "gradient_flow", "temporal"),
    "publishing": (temporal_gradient_monitor, "publish", "temporal"),
    "finding layers": (recurrent_spectrum_monitor, "recurrent_layers", "spectrum"),
    "arming": (spectrum_probe, "largest_singular_value", "spectrum"),
    "aliasing": (spectrum_probe.SpectrumProbe, "_with_alias", "spectrum"),
    "forward": (spectrum_probe, "first_rows", "spectrum"),
    "backward": (spectrum_probe, "denormal_fraction", "spectrum"),
    "reading": (spectrum_probe, "_read", "spectrum"),
    "publishing samples": (recurrent_spectrum_monitor, "publish", "spectrum"),
}


@pytest.mark.parametrize(("where", "name", "kind"), PLACES.values(), ids=PLACES.keys())
def test_an_error_while_measuring_is_one_warning(where, name, kind, monkeypatch):
    """The monitor stands aside for the rest of the run, its hooks are gone, and the weights are those without it."""
    plain, watched, monitor = Recurrent(), Recurrent(), MONITORS[kind]()
    torch.manual_seed(1)
    fit(plain)
    torch.manual_seed(1)
    with monkeypatch.context() as patch:
        patch.setattr(where, name, fail(torch.OutOfMemoryError("no\nmemory")))
        with pytest.warns(UserWarning, match="stands aside for the rest of this run") as told:
            trainer = fit(watched, monitor)
    assert notices(told) == [
        f"{type(monitor).__name__} stands aside for the rest of this run, and the training goes on: measuring failed "
        "with 'OutOfMemoryError: no memory'. If memory is short, lower its `rows`; otherwise remove "
        f"{type(monitor).__name__}."
    ]
    assert trainer.global_step == 12
    assert not hooks_of(watched.rnn)
    assert_same_weights(watched, plain)


@both
def test_an_error_of_the_users_is_raised_as_it_is(make, monkeypatch):
    """The exception that ends the training is the user's own, without ours behind it, and no hook is left."""

    class Failing(Recurrent):
        def training_step(self, batch, batch_idx):
            super().training_step(batch, batch_idx)
            raise KeyError("mine")

    monkeypatch.setattr(_layer_call.LayerCall, "of", fail(RuntimeError("ours")))
    monkeypatch.setattr(spectrum_probe, "first_rows", fail(RuntimeError("ours")))
    module = Failing()
    with pytest.warns(UserWarning, match="stands aside"), pytest.raises(KeyError, match="mine") as raised:
        fit(module, make())
    assert raised.value.__cause__ is raised.value.__context__ is None
    assert not hooks_of(module.rnn)


def test_a_hook_that_replaces_the_outputs_is_no_sample():
    """A user's hook may return a tensor alone, whose rows are not the sequences."""

    class Hooked(Recurrent):
        def last(self, x):
            return self.rnn(x)[:, -1] if self._trainer else super().last(x)

    module, monitor = Hooked(nn.GRU), RecurrentSpectrumMonitor()
    module.rnn.register_forward_hook(lambda layer, args, output: output[0])
    module._trainer = None
    with pytest.warns(UserWarning, match=r"'rnn' returned Tensor, not its outputs and its state"):
        fit(module, monitor)
    assert monitor.latest is None


@pytest.mark.parametrize(
    ("reentrant", "embedded", "fails"),
    [
        pytest.param(*flags, marks=pytest.mark.slow if sum(flags) % 2 else ())
        for flags in itertools.product((False, True), repeat=3)
    ],
)
def test_a_checkpointed_layer_recomputes_the_same_graph(reentrant, embedded, fails, monkeypatch):
    """Both monitors beside activation checkpointing change no weight, also when one fails between its two passes."""

    class Checkpointed(Recurrent):
        def last(self, x):
            x = x + self.shift if embedded else x
            return checkpoint(lambda x: self.rnn(x)[0], x, use_reentrant=reentrant)[:, -1]

        shift = nn.Parameter(torch.zeros(FEATURES))

    if fails:
        monkeypatch.setattr(spectrum_probe, "first_rows", fail(RuntimeError("ours")))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a reentrant checkpoint of the input has no gradient, and says so
        plain, watched = (Checkpointed(nn.GRU) for _ in range(2))
        torch.manual_seed(1)
        fit(plain)
        torch.manual_seed(1)
        fit(watched, spectrum := RecurrentSpectrumMonitor(1), TemporalGradientMonitor(every_n_steps=1))
    assert_same_weights(watched, plain)
    assert (spectrum.latest is None) is fails
    assert not hooks_of(watched.rnn)


@both
def test_a_second_fit_shows_nothing_of_the_first(make):
    """Two fits with the same objects, on other modules and Trainers, measure what two fits with fresh ones do."""
    modules = [lambda: Recurrent(nn.LSTM, num_layers=2), lambda: Recurrent(nn.RNN, lr=0.1)]
    monitor, observer = make(), GradientMonitor()
    for module in modules:
        fit(module(), monitor, observer)
        fit(module(), fresh := make(), alone := GradientMonitor())
        assert measured(monitor) == measured(fresh)
        assert taken(observer) == taken(alone)
        assert str(monitor.state_dict()) == str(fresh.state_dict())
    with pytest.warns(UserWarning, match=r"Net has no nn\.RNN"):
        fit(Net(), monitor, data=loader())
    assert measured(monitor) == measured(make())
    fit(modules[0](), monitor)
    fit(modules[0](), fresh := make())
    assert measured(monitor) == measured(fresh)


@both
def test_a_second_fit_of_the_same_trainer_continues(make, monkeypatch):
    """The interval goes on; a monitor that stands aside keeps standing aside, without a second warning."""
    module, monitor, observer = Recurrent(), make(), GradientMonitor()
    trainer = quiet_trainer(callbacks=[monitor, observer], max_epochs=1)
    trainer.fit(module, sequences())
    trainer.fit_loop.max_epochs = 3
    trainer.fit(module, sequences())
    assert [one.step for one in observer.history.measurements.of(KINDS[type(monitor)])] == [0, 4, 8, 12, 16]
    trainer.fit_loop.max_epochs = 4
    monkeypatch.setattr(_targets, "gradient_flow", fail(RuntimeError("ours")))
    monkeypatch.setattr(spectrum_probe, "largest_singular_value", fail(RuntimeError("ours")))
    with pytest.warns(UserWarning, match="stands aside"):
        trainer.fit(module, sequences())
    trainer.fit_loop.max_epochs = 5
    trainer.fit(module, sequences())
    assert monitor._next_step == 20


RESUME = """
import sys
import torch
from tests.callbacks.monitors.test_recurrent_monitor import MONITORS, GradientMonitor, Recurrent, fit, measured, taken
observer, monitors = GradientMonitor(), [make() for make in MONITORS.values()]
fit(Recurrent(lr=0.0), *monitors, observer, max_epochs=3, ckpt_path=sys.argv[1])
torch.save([[measured(monitor) for monitor in monitors], taken(observer)], sys.argv[2])
"""


def test_a_resumed_run_continues_the_interval(tmp_path):
    """With fresh objects, with the same ones and in a new process, the same steps are measured with the same result."""
    path, out, whole = tmp_path / "half.ckpt", tmp_path / "out.pt", GradientMonitor()
    fit(Recurrent(lr=0.0), *(make() for make in MONITORS.values()), whole, max_epochs=3)
    monitors, observer = [make() for make in MONITORS.values()], GradientMonitor()
    fit(Recurrent(lr=0.0), *monitors, observer, max_epochs=1).save_checkpoint(path)
    seen = []
    for again in (monitors, [make() for make in MONITORS.values()]):
        fit(Recurrent(lr=0.0), *again, observer := GradientMonitor(), max_epochs=3, ckpt_path=path)
        seen.append([[measured(monitor) for monitor in again], taken(observer)])
    done = run(["-c", RESUME, str(path), str(out)], tmp_path)
    assert done.returncode == 0, done.stderr
    assert seen[0] == seen[1] == torch.load(out, weights_only=True)
    assert seen[0][1] == taken(whole)
    assert [profile.step for profile in monitors[0].profiles] == [8, 12, 16]


@both
@pytest.mark.parametrize("value", [-1, "soon", float("nan"), None])
def test_a_state_that_cannot_be_is_named(make, value, tmp_path):
    """A checkpoint whose interval is no whole number is refused with the callback, the file and the entry."""
    trainer = fit(Recurrent(), monitor := make(), max_epochs=1)
    trainer.save_checkpoint(path := tmp_path / "bad.ckpt")
    saved = torch.load(path, weights_only=True)
    saved["callbacks"][monitor.state_key]["next_step"] = value
    torch.save(saved, path)
    with pytest.raises(InputError, match=rf"{type(monitor).__name__}.*bad\.ckpt.*'next_step' must be a whole number"):
        fit(Recurrent(), make(), ckpt_path=path)


@both
def test_a_batch_that_the_module_skips_leaves_no_hook(make):
    """The layer keeps no hook of an epoch that was cut short, neither in the next epoch nor after the fit."""

    class Cut(Recurrent):
        def on_train_batch_start(self, batch, batch_idx):
            seen.append(len(hooks_of(self.rnn)))
            return -1 if self.current_epoch < 2 else None

    seen = []
    fit(module := Cut(), monitor := make(), max_epochs=3)
    assert seen[:3] == [seen[0]] * 3
    assert not hooks_of(module.rnn)
    assert measured(monitor) != measured(make())


@both
def test_a_copy_holds_no_layer_and_works_alone(make):
    """After a fit, copies and pickles contain no module, and a copy that fails does not set the original aside."""
    fit(Recurrent(), monitor := make())
    for other in (copy.deepcopy(monitor), pickle.loads(pickle.dumps(monitor))):
        assert measured(other) == measured(monitor)
        with pytest.warns(UserWarning, match="Net has no"):
            fit(Net(), other, data=loader())
        assert (other._stands_aside, monitor._stands_aside) == (True, False)
    assert len(pickle.dumps(monitor)) < 20_000


@pytest.mark.parametrize(
    ("make", "strategy"),
    [
        (MONITORS["temporal"], FSDPStrategy),
        (MONITORS["spectrum"], FSDPStrategy),
        (MONITORS["spectrum"], DeepSpeedStrategy),
    ],
)
def test_the_run_goes_on_where_a_strategy_hides_the_weights(make, strategy, monkeypatch):
    """One warning names the strategy and the remedy."""
    monitor = make()
    find, unpatched = monitor._find, pl.Trainer.strategy

    def find_under_strategy(trainer, pl_module):
        with monkeypatch.context() as patch:  # a real one needs GPUs
            patch.setattr(pl.Trainer, "strategy", property(lambda self: strategy.__new__(strategy)))
            find(trainer, pl_module)

    monkeypatch.setattr(monitor, "_find", find_under_strategy)
    with pytest.warns(UserWarning, match=rf"{type(monitor).__name__} cannot work with {strategy.__name__}") as told:
        trainer = fit(Recurrent(), monitor, max_epochs=1)
    assert pl.Trainer.strategy is unpatched
    assert (len(notices(told)), trainer.global_step, measured(monitor)) == (1, 6, measured(make()))
