"""`RNNModule`: its layers, and the options that only a plain recurrent network has."""

import copy
from functools import partial

import pytest
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import nn

from lightning_clip.datamodules import TemporalOrderDataModule
from lightning_clip.modules import ClippedRNN, LayerNormRNN, RNNModule, VanishingGradientRegularizer
from tests.support.building import built
from tests.support.training import quiet_trainer


def data() -> TemporalOrderDataModule:
    return TemporalOrderDataModule(12, batches_per_epoch=2, n_val=7, n_test=9, seed=0)


def gradients(model: RNNModule, **options) -> dict[str, torch.Tensor]:
    """The gradients of one training step with learning rate 0."""
    model.optimizer = partial(torch.optim.SGD, lr=0.0)
    quiet_trainer(max_steps=1, limit_val_batches=0, log_every_n_steps=1, **options).fit(model, data())
    return {name: param.grad.clone() for name, param in model.named_parameters()}


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({}, nn.RNN),
        ({"regularizer": VanishingGradientRegularizer()}, nn.RNN),
        ({"grad_clip_gates": 1.0}, ClippedRNN),
        ({"layer_norm": True}, LayerNormRNN),
    ],
)
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_options_say_which_layer_there_is(options, kind, nonlinearity):
    """The layer is fused unless an option needs another one; every layer trains on a task."""
    model = RNNModule(nonlinearity=nonlinearity, hidden_size=6, **options)
    assert type(model.recurrent) is kind
    assert model.recurrent.nonlinearity == nonlinearity
    before = copy.deepcopy(model)
    quiet_trainer(max_epochs=1).fit(model, data())
    assert not torch.equal(model.recurrent.weight_hh_l0, before.recurrent.weight_hh_l0)


def test_the_regularizer_acts_on_the_gradient_of_recurrent_weights():
    """Training adds exactly the regularizer's gradient, and logs what the regularizer measures."""
    torch.manual_seed(0)
    plain = RNNModule(hidden_size=6)
    regularized = copy.deepcopy(plain)
    regularized.regularizer = VanishingGradientRegularizer(3.0)
    before, after = gradients(plain), gradients(regularized)

    twin, own = copy.deepcopy(plain), VanishingGradientRegularizer(3.0)
    inputs, targets = next(iter(data().train_dataloader()))
    states = own(twin.recurrent(inputs)[0], twin.recurrent)
    nn.functional.cross_entropy(twin.head(states[:, -1]), targets).backward()
    torch.testing.assert_close(after["recurrent.weight_hh_l0"], twin.recurrent.weight_hh_l0.grad)
    assert not torch.allclose(after["recurrent.weight_hh_l0"], before["recurrent.weight_hh_l0"])
    for name in before.keys() - {"recurrent.weight_hh_l0"}:
        assert torch.equal(after[name], before[name])
    logged = regularized.trainer.callback_metrics
    assert float(logged["omega/penalty"]) == pytest.approx(float(own.omega), rel=1e-5)
    assert logged["omega/kept_fraction"] == 1.0


def test_accumulated_batches_count_as_one():
    """Two equal accumulated batches give the gradient of one: the regularizer's part is divided as the loss is."""
    torch.manual_seed(0)
    single = RNNModule(hidden_size=6, regularizer=VanishingGradientRegularizer(3.0))
    double = copy.deepcopy(single)
    batch = next(iter(data().train_dataloader()))
    twice, grads = torch.utils.data.DataLoader([batch, batch], batch_size=None), []
    for model, accumulated in ((single, 1), (double, 2)):
        model.optimizer = partial(torch.optim.SGD, lr=0.0)
        trainer = quiet_trainer(
            max_steps=1, limit_val_batches=0, log_every_n_steps=1, accumulate_grad_batches=accumulated
        )
        trainer.fit(model, twice, twice)
        grads.append([param.grad for param in model.parameters()])
    for one, two in zip(*grads, strict=True):
        torch.testing.assert_close(one, two)


def test_two_processes_count_as_one():
    """Two processes with half a batch each make the step of one process: the regularizer's part is averaged."""
    torch.manual_seed(0)
    rows = torch.utils.data.TensorDataset(torch.randn(8, 10, 6), torch.randint(4, (8,)))
    alone = RNNModule(hidden_size=6, regularizer=VanishingGradientRegularizer(3.0))
    together, start = copy.deepcopy(alone), copy.deepcopy(alone)
    for model, options in ((alone, {}), (together, {"devices": 2, "strategy": "ddp_fork"})):
        batches = torch.utils.data.DataLoader(rows, batch_size=8 // options.get("devices", 1))
        quiet_trainer(max_epochs=1, limit_val_batches=0, **options).fit(model, batches, batches)
    for name, param in alone.named_parameters():
        assert not torch.equal(param, start.get_parameter(name))
        torch.testing.assert_close(together.get_parameter(name), param)


def test_mixed_precision_scales_the_regularizer_too():
    """Unscaled gradients are the same for any scale of the loss."""
    torch.manual_seed(0)
    first = RNNModule(hidden_size=6, regularizer=VanishingGradientRegularizer(3.0))
    second, grads = copy.deepcopy(first), []
    for model, scale in ((first, 1.0), (second, 2.0**10)):
        scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        grads.append(gradients(model, plugins=MixedPrecision("16-mixed", "cpu", scaler=scaler)))
    for name, grad in grads[0].items():
        torch.testing.assert_close(grads[1][name], grad, rtol=0.05, atol=2e-3)  # half precision


def test_the_schedule_of_the_regularizer_follows_the_run():
    """The regularizer knows the step and the epoch before each backward pass."""
    seen = []

    class Watching(VanishingGradientRegularizer):
        @property
        def current_weight(self) -> float:
            seen.append((self.step, self.epoch))
            return super().current_weight

    model = RNNModule(hidden_size=6, regularizer=Watching(schedule="1/step"))
    quiet_trainer(max_epochs=2, limit_val_batches=0).fit(model, data())
    assert seen == [(0, 0), (1, 0), (2, 1), (3, 1)]


def test_the_regularizer_is_built_from_plain_values():
    """A regularizer can be configured in YAML."""
    regularizer = {
        "class_path": "lightning_clip.modules.VanishingGradientRegularizer",
        "init_args": {"weight": 2.0, "schedule": "1/epoch"},
    }
    model = built(LightningModule, "RNNModule", nonlinearity="relu", regularizer=regularizer)
    assert (model.regularizer.weight, model.regularizer.schedule) == (2.0, "1/epoch")
    assert model.nonlinearity == "relu"


def test_clamped_derivatives_are_logged():
    """The clamped fraction is logged: all gradients at the last of 12 steps, and those that flow back from it."""
    model = RNNModule(hidden_size=6, grad_clip_gates=1e-12)
    quiet_trainer(max_epochs=1).fit(model, data())
    assert model.trainer.callback_metrics["clamped_fraction/gates"] > 0.9 / 12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"nonlinearity": "sigmoid"},
            r"RNNModule\(nonlinearity='sigmoid'\): nonlinearity must be one of 'tanh', 'relu'",
        ),
        ({"grad_clip_gates": 0}, r"RNNModule\(grad_clip_gates=0\): grad_clip_gates must be a positive number"),
        ({"layer_norm": True, "grad_clip_gates": 1.0}, "layer_norm and grad_clip_gates: .*use only one of them"),
        (
            {"regularizer": VanishingGradientRegularizer(), "grad_clip_gates": 1.0},
            "regularizer and grad_clip_gates: .*use only one of them",
        ),
        (
            {"regularizer": VanishingGradientRegularizer(), "layer_norm": True},
            "layer_norm and regularizer: .*use only one of them",
        ),
        ({"regularizer": VanishingGradientRegularizer(), "num_layers": 2}, "plain nn.RNN; use one with num_layers=1"),
    ],
)
def test_bad_arguments(arguments, message):
    """Bad arguments raise an error with the call and the rule, or with the options that exclude each other."""
    with pytest.raises(ValueError, match=message):
        RNNModule(**arguments)
