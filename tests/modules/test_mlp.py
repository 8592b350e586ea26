"""`MLPRegressor`: its shapes, initialization, metrics and optimizers."""

import copy
import math
import pickle
import sys
from functools import partial

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from lightning.pytorch.cli import LightningCLI
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_clip.modules import MLPRegressor


def loader(rows: int = 24, features: int = 20, batch_size: int = 8) -> DataLoader:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(rows, features, generator=generator)
    return DataLoader(TensorDataset(inputs, inputs.sum(1, keepdim=True)), batch_size=batch_size)


def trainer(tmp_path, **options) -> Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    return Trainer(default_root_dir=tmp_path, enable_checkpointing=False, **{**quiet, "max_epochs": 2, **options})


def fitted(tmp_path, model: LightningModule, data: DataLoader, **options) -> Trainer:
    run = trainer(tmp_path, **options)
    run.fit(model, data, data)
    return run


def linears(model: LightningModule) -> list[nn.Linear]:
    return [layer for layer in model.modules() if isinstance(layer, nn.Linear)]


# Lightning calls functions of jsonargparse that it deprecates.
old_names = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def command_line(monkeypatch):
    """What LightningCLI makes of the arguments that follow the program's name."""

    def run(*arguments: str) -> LightningCLI:
        monkeypatch.setattr(sys, "argv", ["program", *arguments])
        return LightningCLI(run=False, save_config_callback=None, seed_everything_default=0)

    return run


@pytest.mark.parametrize(
    ("arguments", "shapes"),
    [
        ({}, [(25, 20), (1, 25)]),
        ({"in_features": 3, "hidden_sizes": (5, 7), "out_features": 2}, [(5, 3), (7, 5), (2, 7)]),
        ({"hidden_sizes": []}, [(1, 20)]),
    ],
)
def test_sizes_say_what_layers_there_are(arguments, shapes):
    """There is a linear layer between consecutive sizes, and a ReLU after each hidden layer."""
    model = MLPRegressor(**arguments)
    assert [tuple(layer.weight.shape) for layer in linears(model)] == shapes
    assert sum(isinstance(layer, nn.ReLU) for layer in model.modules()) == len(shapes) - 1
    assert model(torch.zeros(4, shapes[0][1])).shape == (4, shapes[-1][0])


def test_hidden_units_are_rectified():
    """The network computes `W2 relu(W1 x + b1) + b2`."""
    model, inputs = MLPRegressor(), torch.randn(6, 20)
    first, last = linears(model)
    first.bias.data.normal_()
    hidden = (inputs @ first.weight.T + first.bias).clamp(min=0)
    torch.testing.assert_close(model(inputs), hidden @ last.weight.T + last.bias)


def test_weights_start_as_in_keras():
    """Hidden weights fill ±sqrt(6 / fan_in), output weights ±sqrt(6 / (fan_in + fan_out)); biases are zero."""
    seed_everything(0)
    first, second, last = linears(MLPRegressor(50, (400, 300), 10))
    for layer, bound in [(first, math.sqrt(6 / 50)), (second, math.sqrt(6 / 400)), (last, math.sqrt(6 / 310))]:
        assert 0.99 * bound < layer.weight.detach().abs().max() <= bound
        assert float(layer.weight.detach().std()) == pytest.approx(
            bound / math.sqrt(3), rel=0.03
        )  # of a uniform distribution
        assert not layer.bias.any()


def test_the_global_seed_decides_the_weights():
    """The same seed gives the same weights; another seed gives different ones."""
    weights = []
    for seed in (3, 3, 4):
        seed_everything(seed)
        weights.append(linears(MLPRegressor())[0].weight)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_it_trains_as_a_plain_loop_does(tmp_path):
    """Weights after two epochs, and `train_mse` of the second, equal those of a handwritten SGD loop."""
    model = MLPRegressor()
    twin, data = copy.deepcopy(model), loader(rows=20)
    fit = fitted(tmp_path, model, data)

    velocity = [torch.zeros_like(p) for p in twin.parameters()]
    for _ in range(2):
        squares, last_losses = [], []
        for inputs, target in data:
            squared = (twin(inputs) - target) ** 2
            grads = torch.autograd.grad(squared.mean(), list(twin.parameters()))
            squares.append(squared.detach())
            last_losses.append(squared.mean().detach())
            for param, grad, moving in zip(twin.parameters(), grads, velocity, strict=True):
                param.data -= 0.01 * moving.mul_(0.9).add_(grad)
    for ours, plain in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, plain)
    torch.testing.assert_close(fit.callback_metrics["train_mse"], torch.cat(squares).mean())
    torch.testing.assert_close(fit.callback_metrics["train_loss"], last_losses[-1])


@pytest.mark.parametrize("split", ["val", "test"])
def test_evaluation_is_the_mean_over_all_rows(tmp_path, split):
    """Metrics weight batches of 8, 8 and 4 rows by their number of rows."""
    model, data = MLPRegressor(), loader(rows=20)
    run = trainer(tmp_path)
    evaluate = {"val": run.validate, "test": run.test}[split]
    (metrics,) = evaluate(model, data, verbose=False)
    inputs, target = data.dataset.tensors
    assert metrics == {f"{split}_mse": pytest.approx(float(((model(inputs).detach() - target) ** 2).mean()), rel=1e-5)}


def test_validation_metric_is_logged_while_fitting(tmp_path):
    """`val_mse` is available to callbacks that monitor it."""
    fit = fitted(tmp_path, MLPRegressor(), loader())
    assert fit.callback_metrics.keys() == {"train_loss", "train_mse", "val_mse"}


def test_flat_targets_do_not_broadcast(tmp_path):
    """Targets `(batch,)` give the same error as `(batch, 1)`."""
    model, data = MLPRegressor(), loader()
    inputs, target = data.dataset.tensors
    flat = DataLoader(TensorDataset(inputs, target[:, 0]), batch_size=8)
    run = trainer(tmp_path)
    assert run.test(model, flat, verbose=False) == run.test(model, data, verbose=False)


def test_predict_step_returns_predictions_alone(tmp_path):
    """Predictions ignore the targets of a batch."""
    model, data = MLPRegressor(), loader(rows=20)
    parts = trainer(tmp_path).predict(model, data)
    assert [part.shape for part in parts] == [(8, 1), (8, 1), (4, 1)]
    torch.testing.assert_close(torch.cat(parts), model(data.dataset.tensors[0]).detach())


@pytest.mark.parametrize(("every", "logged"), [(1, 6), (3, 2), (100, 1)])
def test_the_loss_is_logged_when_a_logger_writes_and_at_the_end_of_an_epoch(tmp_path, monkeypatch, every, logged):
    """Of 6 steps of one epoch, all, every third, or only the last are logged."""
    model, names = MLPRegressor(), []
    original = model.log
    monkeypatch.setattr(model, "log", lambda name, *a, **k: (names.append(name), original(name, *a, **k)))
    fitted(tmp_path, model, loader(batch_size=4), max_epochs=1, log_every_n_steps=every)
    assert names.count("train_loss") == logged


def test_the_default_optimizer_is_sgd_with_momentum():
    """The default is SGD with learning rate 0.01 and momentum 0.9, without a scheduler."""
    optimizer = MLPRegressor().configure_optimizers()
    assert isinstance(optimizer, torch.optim.SGD)
    assert (optimizer.defaults["lr"], optimizer.defaults["momentum"]) == (0.01, 0.9)


@pytest.mark.parametrize(("interval", "rate"), [("epoch", 0.25), ("step", 0.5**6)])
def test_the_scheduler_moves_in_its_interval(tmp_path, interval, rate):
    """The scheduler halves the rate once per epoch or once per step, over two epochs of three steps."""
    halving = partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5)
    model = MLPRegressor(optimizer=partial(torch.optim.Adam, lr=1.0), scheduler=halving, scheduler_interval=interval)
    fit = fitted(tmp_path, model, loader())
    assert fit.optimizers[0].param_groups[0]["lr"] == pytest.approx(rate)


def test_a_plateau_scheduler_watches_the_validation_error(tmp_path):
    """Torch's `ReduceLROnPlateau` monitors `val_mse` by default; it falls here, which counts as bad in mode "max"."""
    plateau = partial(torch.optim.lr_scheduler.ReduceLROnPlateau, mode="max", patience=0, factor=0.1)
    fit = fitted(tmp_path, MLPRegressor(scheduler=plateau), loader(), max_epochs=3)
    assert fit.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.0001)


@old_names
def test_the_command_line_shows_and_overrides_the_default_optimizer(command_line):
    """A single argument of the default optimizer can be changed on the command line."""
    cli = command_line("--model=lightning_clip.MLPRegressor", "--model.optimizer.lr=0.5")
    optimizer = cli.model.configure_optimizers()
    assert isinstance(optimizer, torch.optim.SGD)
    assert (optimizer.defaults["lr"], optimizer.defaults["momentum"]) == (0.5, 0.9)


@old_names
def test_the_command_line_takes_other_optimizers_and_schedulers(command_line):
    """Optimizers and schedulers can be given by class name; a scheduler's own `monitor` takes precedence."""
    made = command_line(
        "--model=lightning_clip.MLPRegressor",
        "--model.hidden_sizes=[4,3]",
        "--model.optimizer=Adam",
        "--model.optimizer.lr=0.002",
        "--model.scheduler=lightning.pytorch.cli.ReduceLROnPlateau",
        "--model.scheduler.monitor=train_mse",
    ).model
    configured = made.configure_optimizers()
    assert isinstance(configured["optimizer"], torch.optim.Adam)
    assert configured["optimizer"].defaults["lr"] == 0.002
    assert configured["lr_scheduler"]["monitor"] == "train_mse"
    assert made.hidden_sizes == (4, 3)


def test_the_printed_configuration_gives_the_same_configuration(command_line, tmp_path, capsys):
    """`--print_config` writes the optimizer out, and its output can be read back."""
    texts = []
    for argument in ("--model=lightning_clip.MLPRegressor", f"--config={tmp_path / 'printed.yaml'}"):
        with pytest.raises(SystemExit):
            command_line(argument, "--print_config")
        texts.append(capsys.readouterr().out)
        (tmp_path / "printed.yaml").write_text(texts[-1])
    assert "class_path: torch.optim.SGD" in texts[0]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["copy", "pickle"])
@pytest.mark.parametrize("arguments", [{}, {"optimizer": partial(torch.optim.Adam, lr=0.3)}], ids=["default", "given"])
def test_it_can_be_sent_to_another_process(duplicate, arguments):
    """A copy has the same weights and builds the same optimizer, including the default one."""
    model = MLPRegressor(**arguments)
    twin = duplicate(model)
    assert torch.equal(linears(twin)[0].weight, linears(model)[0].weight)
    ours, theirs = model.configure_optimizers(), twin.configure_optimizers()
    assert type(ours) is type(theirs)
    assert ours.defaults == theirs.defaults


def test_a_checkpoint_restores_the_sizes(tmp_path):
    """`load_from_checkpoint` needs no arguments and works with `weights_only`."""
    model = MLPRegressor(4, (3, 2))
    fit = fitted(tmp_path, model, loader(features=4))
    fit.save_checkpoint(tmp_path / "last.ckpt")
    restored = MLPRegressor.load_from_checkpoint(tmp_path / "last.ckpt", weights_only=True)
    assert restored.hidden_sizes == (3, 2)
    assert torch.equal(linears(restored)[0].weight, linears(model)[0].weight)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"in_features": 0},
            r"MLPRegressor\(in_features=0, .*\): the sizes must be positive whole numbers",
        ),
        ({"hidden_sizes": (5, -1)}, r"\(5, -1\).*must be positive whole numbers"),
        ({"out_features": 1.5}, r"1\.5\): .*must be positive whole numbers"),
        (
            {"scheduler_interval": "batch"},
            r"scheduler_interval='batch'\): scheduler_interval must be one of 'epoch', 'step'",
        ),
        ({"activation": "gelu"}, r"MLPRegressor\(activation='gelu'\): activation must be one of 'relu', "),
        ({"init": "xavir"}, r"MLPRegressor\(init='xavir'\): init must be one of 'he', "),
        ({"l1": -1.0}, r"MLPRegressor\(l1=-1.0\): l1 must be "),
        ({"residual": True}, r"MLPRegressor\(residual=True, .*\): a residual block needs a hidden layer with as many"),
    ],
)
def test_bad_arguments(arguments, message):
    """Bad arguments raise an error with the call and the rule."""
    with pytest.raises(ValueError, match=message):
        MLPRegressor(**arguments)


def test_inputs_of_another_width():
    """Inputs of the wrong width raise an error that names the argument to change."""
    with pytest.raises(ValueError, match=r"MLPRegressor\(in_features=20\).*10 features; set in_features=10"):
        MLPRegressor()(torch.zeros(2, 10))


def test_penalties_add_to_the_loss_and_not_to_the_metrics(tmp_path):
    """The loss grows by `l1` times the sum of magnitudes and `l2` times the sum of squares of all weights."""
    seed_everything(0)
    model, data = MLPRegressor(l1=0.5, l2=0.25), loader(rows=8)
    weights = torch.cat([layer.weight.detach().flatten() for layer in linears(model)])
    inputs, target = data.dataset.tensors
    error = ((model(inputs).detach() - target) ** 2).mean()
    fit = fitted(tmp_path, model, data, max_epochs=1)
    expected = error + 0.5 * weights.abs().sum() + 0.25 * weights.square().sum()
    torch.testing.assert_close(fit.callback_metrics["train_loss"], expected)
    torch.testing.assert_close(fit.callback_metrics["train_mse"], error)
