"""Our networks, mixins, data modules and callbacks as classes of `pytorch_lightning`."""

import copy
import importlib
import pickle
import sys

import lightning.pytorch
import pytest
import pytorch_lightning
import torch
from jsonargparse import ArgumentParser
from torch.nn import functional as F

import lightning_clip
import lightning_clip.pytorch_lightning as twins
from lightning_clip import AutoClip, GradientClipping, NormClip
from tests.guests.callbacks import everything
from tests.support import fresh

pytestmark = pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.*")

ROOMS = [importlib.import_module(f"lightning_clip.{room}") for room in ("callbacks", "modules", "datamodules")]
PACKAGES = {lightning_clip: lightning.pytorch, twins: pytorch_lightning}
ROOTS = {
    package: (package.LightningModule, package.LightningDataModule, package.Callback) for package in PACKAGES.values()
}
SEQUENCES = {"length": 12, "batches_per_epoch": 3, "batch_size": 4, "n_val": 8, "n_test": 8}
CHUNKS = {"truncated_bptt_steps": 8}
REGRESSION = {"task": "regression", "hidden_size": 5}
# Every data module, with a network that reads it.
PAIRS = {
    "RegressionDataModule": ({"n_samples": 60}, "MLPRegressor", {}),
    "SequentialDigitsDataModule": ({}, "RNNModule", {"hidden_size": 5}),
    "AddingProblemDataModule": (SEQUENCES, "RNNModule", REGRESSION),
    "MultiplicationDataModule": (SEQUENCES, "GRUModule", REGRESSION),
    "TemporalOrderDataModule": (SEQUENCES, "LSTMModule", {"hidden_size": 5}),
    "RandomPermutationDataModule": (SEQUENCES, "GRUModule", {"hidden_size": 5}),
    "MemorizationDataModule": (SEQUENCES, "RNNModule", {"hidden_size": 5, "many_to_many": True}),
    "TimeSeriesDataModule": (
        {"window": 24},
        "TBPTTSequenceModule",
        {**REGRESSION, "many_to_many": True, "truncated_bptt_steps": 8},
    ),
    "ChunkedSequenceDataModule": (CHUNKS, "TBPTTModule", REGRESSION),
    "CharTextDataModule": (CHUNKS, "TBPTTModule", {"hidden_size": 5}),
}


def made(room, name):
    """A network and a data module, of `lightning_clip` or their twins."""
    arguments, network, options = PAIRS[name]
    torch.manual_seed(0)
    data = getattr(room, name)(**arguments)
    return getattr(room, network)(in_features=data.in_features, out_features=data.out_features, **options), data


def fit(network, data, callbacks=(), *, max_steps=4, **options):
    package = lightning.pytorch if isinstance(network, lightning.pytorch.LightningModule) else pytorch_lightning
    package.seed_everything(0, verbose=False)
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    limits = {"max_steps": max_steps, "limit_val_batches": 1, "accelerator": "cpu", "logger": False}
    trainer = package.Trainer(**quiet | limits, callbacks=list(callbacks))
    trainer.fit(network, datamodule=data, **options)
    return trainer


def weights(network):
    return {name: weight.tolist() for name, weight in network.state_dict().items()}


def lightning_classes(room):
    """The names of the classes of a room that inherit from one of Lightning's."""
    found = {name: getattr(room, name) for name in room.__all__}
    return {name for name, one in found.items() if isinstance(one, type) and issubclass(one, ROOTS[lightning.pytorch])}


def test_every_lightning_class_has_a_twin():
    """All of the public networks, mixins, data modules and callbacks are there, and nothing else is."""
    assert set().union(*map(lightning_classes, ROOMS)) == set(twins.__all__) == set(dir(twins))
    assert lightning_classes(lightning_clip) <= set(twins.__all__)
    with pytest.raises(ImportError, match="cannot import name 'NormClip'"):
        from lightning_clip.pytorch_lightning import NormClip  # noqa: F401


@pytest.mark.parametrize("name", twins.__all__)
def test_a_twin_is_ours_and_of_the_other_package(name):
    """It is a subclass of our class and of one of the other package, not of Lightning's, and says what ours says."""
    (ours,) = [getattr(room, name) for room in ROOMS if name in room.__all__]
    twin = getattr(twins, name)
    assert issubclass(twin, ours)
    assert not issubclass(twin, ROOTS[lightning.pytorch])
    assert [issubclass(twin, root) for root in ROOTS[pytorch_lightning]].count(True) == 1
    assert (twin.__name__, twin.__doc__, twin.__module__) == (name, ours.__doc__, "lightning_clip._pytorch_lightning")
    assert twin is getattr(twins, name) is pickle.loads(pickle.dumps(twin))


def test_a_bare_name_is_that_of_our_class():
    """On a command line of Lightning, also in a process that has made the twins, which are its subclasses."""
    assert issubclass(twins.MLPRegressor, lightning_clip.MLPRegressor)
    assert twins.GradientClipping
    for base, name in (
        (lightning.pytorch.LightningModule, "MLPRegressor"),
        (lightning.pytorch.Callback, "GradientClipping"),
    ):
        parser = ArgumentParser()
        parser.add_subclass_arguments(base, "one")
        assert parser.parse_args([f"--one={name}"]).one.class_path == f"lightning_clip.{name}"


@pytest.mark.parametrize("name", PAIRS)
def test_it_trains_as_in_lightning(name):
    """In either Trainer, with all callbacks: the same losses, norms and weights, bit for bit."""
    ends = []
    for room in PACKAGES:
        network, data = made(room, name)
        callbacks = (
            everything() if isinstance(network, lightning_clip.modules.RecurrentModule) else [GradientClipping()]
        )
        fit(network, data, callbacks)
        ends.append((weights(network), [(r.loss, r.norm_before, r.clipped) for r in callbacks[0].history]))
    assert ends[0] == ends[1]
    assert len(ends[0][1]) == 4


def test_all_networks_and_data_are_tried():
    """The table above has every network and data module that can be made."""
    tried = {name for data, (_, network, _) in PAIRS.items() for name in (data, network)}
    bases = {"OptimizedModule", "RecurrentModule", "SequenceTaskDataModule", "StatefulMixin", "TruncatedBPTTMixin"}
    assert tried == set(twins.__all__) - lightning_classes(ROOMS[0]) - bases


def test_callbacks_have_twins_too():
    """Twins of callbacks know each other, and clip as ours do."""
    ends = []
    for room in PACKAGES:
        clipping, switcher = room.GradientClipping(NormClip(0.5)), room.StrategySwitcher([NormClip(0.01)])
        network, data = made(twins, "AddingProblemDataModule")
        fit(network, data, [clipping, switcher, room.NonFiniteGuard("skip"), room.RichGradientReport()])
        ends.append((weights(network), [record.strategy for record in clipping.history]))
    assert ends[0] == ends[1]


@pytest.mark.parametrize("mixin", ["StatefulMixin", "TruncatedBPTTMixin"])
def test_a_module_of_the_user_takes_a_mixin(mixin):
    """A class that inherits from a mixin and from LightningModule trains alike in both packages."""
    ends = []
    for room, package in PACKAGES.items():

        class Stateful(getattr(room, mixin), package.LightningModule):
            def __init__(self, **options):
                super().__init__(**options)
                torch.manual_seed(0)
                self.rnn = torch.nn.RNN(1, 1, batch_first=True)

            def validation_step(self, batch, batch_idx):
                pass

            def training_step(self, chunk, batch_idx):
                return F.mse_loss(self.run_chunk(self.rnn, chunk.inputs, chunk), chunk.targets)

            def configure_optimizers(self):
                return torch.optim.SGD(self.parameters(), lr=0.1)

        class Truncated(Stateful):
            training_step = getattr(room, mixin).training_step

            def tbptt_step(self, chunk, hiddens):
                outputs, hiddens = self.rnn(chunk[0], hiddens)
                return F.mse_loss(outputs, chunk[1]), hiddens

        if mixin == "StatefulMixin":
            network, data = Stateful(), room.ChunkedSequenceDataModule(**CHUNKS)
        else:
            network, data = Truncated(truncated_bptt_steps=2), room.TimeSeriesDataModule(window=9)
        fit(network, data)
        ends.append(weights(network))
    assert ends[0] == ends[1]


def test_copies_and_checkpoints(tmp_path):
    """A twin is pickled, copied and loaded from a checkpoint, which our class can load too."""
    network, data = made(twins, "TemporalOrderDataModule")
    fit(network, data).save_checkpoint(tmp_path / "end.ckpt")
    torch.save(network, tmp_path / "whole.pt")
    same = [copy.deepcopy(network), pickle.loads(pickle.dumps(network))]
    same += [torch.load(tmp_path / "whole.pt", weights_only=False)]
    same += [room.LSTMModule.load_from_checkpoint(tmp_path / "end.ckpt") for room in (twins, lightning_clip)]
    assert [type(one) for one in same] == [twins.LSTMModule] * 4 + [lightning_clip.LSTMModule]
    assert all(weights(one) == weights(network) for one in same)
    assert all(one.hparams == network.hparams for one in same)
    assert pickle.loads(pickle.dumps(data)).length == data.length


def test_a_run_goes_on_in_the_other_trainer(tmp_path):
    """Three steps in either Trainer, and then a fourth in the other: the same weights."""
    ends = []
    for first, then in [(lightning_clip, lightning_clip), (twins, lightning_clip), (lightning_clip, twins)]:
        network, data = made(first, "AddingProblemDataModule")
        fit(network, data, max_steps=3).save_checkpoint(tmp_path / "third.ckpt")
        network, data = made(then, "AddingProblemDataModule")
        trainer = fit(network, data, ckpt_path=tmp_path / "third.ckpt")
        ends.append((weights(network), trainer.global_step))
    assert ends[0] == ends[1] == ends[2]


def test_the_twin_has_no_copy_of_the_code():
    """What is changed in a base of ours, or of the other package, is changed in the twin, also after it was used."""
    network, _ = made(twins, "AddingProblemDataModule")
    bases = (pytorch_lightning.LightningModule, lightning_clip.modules.OptimizedModule, lightning_clip.RNNModule)
    for base in bases:
        assert not hasattr(network, "greeting") or network.greeting() != base.__module__
        base.greeting = lambda self, base=base: base.__module__
        assert network.greeting() == base.__module__
    for base in reversed(bases):
        assert network.greeting() == base.__module__
        del base.greeting
    assert not hasattr(network, "greeting")


def test_bad_arguments_are_refused_alike():
    """Errors name the class, and an abstract class cannot be made."""
    with pytest.raises(ValueError, match=r"RNNModule\(hidden_size=0\)"):
        twins.RNNModule(hidden_size=0)
    with pytest.raises(TypeError, match="abstract"):
        twins.TruncatedBPTTMixin(truncated_bptt_steps=3)


def test_its_command_line_makes_them(tmp_path):
    """A LightningCLI of the other package takes the twins by `class_path`, and sets their arguments."""
    (tmp_path / "main.py").write_text(
        "from pytorch_lightning.cli import LightningCLI\n"
        "cli = LightningCLI(run=False, auto_configure_optimizers=False, seed_everything_default=0)\n"
        "print(type(cli.model), cli.model.configure_optimizers().defaults['lr'])\n"
        "print(type(cli.datamodule), next(one.strategy for one in cli.trainer.callbacks if hasattr(one, 'strategy')))\n"
    )
    here = "lightning_clip.pytorch_lightning"
    words = [f"--model={here}.LSTMModule", "--model.optimizer.lr=0.5", f"--data={here}.TemporalOrderDataModule"]
    words += [f"--trainer.callbacks={here}.GradientClipping", "--trainer.callbacks.strategy=lightning_clip.AutoClip"]
    done = fresh.run(["main.py", *words, "--trainer.accelerator=cpu", "--trainer.logger=false"], tmp_path)
    assert done.stdout.splitlines()[-2:] == [
        f"{twins.LSTMModule} 0.5",
        f"{twins.TemporalOrderDataModule} {AutoClip()}",
    ], done.stderr


def test_without_the_package(monkeypatch):
    """One line says what to install."""
    for name in ("pytorch_lightning", "_pytorch_lightning"):
        monkeypatch.delitem(sys.modules, f"lightning_clip.{name}")
    monkeypatch.setitem(sys.modules, "pytorch_lightning", None)
    with pytest.raises(ModuleNotFoundError, match=r"^lightning_clip.pytorch_lightning needs pytorch_lightning: pip"):
        importlib.import_module("lightning_clip.pytorch_lightning")
