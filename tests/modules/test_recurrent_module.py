"""The common behavior of `RNNModule`, `LSTMModule` and `GRUModule`."""

import copy
import math
import pickle
from functools import partial

import pytest
import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch.utils.data import DataLoader, TensorDataset

from lightning_clip.datamodules import (
    AddingProblemDataModule,
    MemorizationDataModule,
    SequentialDigitsDataModule,
    TemporalOrderDataModule,
)
from lightning_clip.modules import GRUModule, LSTMModule, RNNModule
from tests.support.building import built
from tests.support.recurrent import first_gradients, small
from tests.support.training import quiet_trainer

MODULES = {"rnn": RNNModule, "lstm": LSTMModule, "gru": GRUModule}
each_module = pytest.mark.parametrize("module", MODULES.values(), ids=MODULES)


def text(rows: int = 6, steps: int = 9, symbols: int = 5) -> DataLoader:
    """Symbols as inputs, and the next symbols as targets."""
    stream = torch.randint(symbols, (rows, steps + 1), generator=torch.Generator().manual_seed(0))
    return DataLoader(TensorDataset(stream[:, :-1], stream[:, 1:]), batch_size=4)


@each_module
@pytest.mark.parametrize(("many_to_many", "shape"), [(None, (2, 4)), (False, (2, 4)), (True, (2, 7, 4))])
def test_there_is_an_output_after_the_last_step_or_at_each(module, many_to_many, shape):
    """With `many_to_many` there is an output at every step, and the last one is that without it."""
    model, x = module(3, 4, many_to_many=many_to_many, hidden_size=6), torch.randn(2, 7, 3)
    assert model(x).shape == shape
    every = copy.deepcopy(model)
    every.many_to_many = True
    torch.testing.assert_close(every(x)[:, -1], model(x) if len(shape) == 2 else model(x)[:, -1])


@each_module
def test_the_next_token_is_asked_for_at_every_step(module):
    """The task `"next_token"` has an output at every step by default."""
    model = module(5, 5, task="next_token", hidden_size=6)
    assert model(torch.randint(5, (2, 7))).shape == (2, 7, 5)


@each_module
def test_outputs_are_those_of_the_layers_of_torch(module):
    """Outputs are those of torch's fused layer followed by a linear layer."""
    model, x = module(3, 4, hidden_size=6, num_layers=2, many_to_many=True), torch.randn(2, 7, 3)
    fused = getattr(torch.nn, module.__name__.removesuffix("Module"))(3, 6, 2, batch_first=True)
    fused.load_state_dict(model.recurrent.state_dict())
    assert type(model.recurrent) is type(fused)
    assert torch.equal(model(x), model.head(fused(x)[0]))


@each_module
def test_symbols_act_as_their_unit_vectors(module):
    """Symbols and their one-hot vectors give the same outputs; an embedding changes the input size."""
    model, symbols = module(5, 4, hidden_size=6), torch.randint(5, (2, 7))
    assert torch.equal(model(symbols), model(torch.nn.functional.one_hot(symbols, 5).float()))
    embedded = module(5, 4, hidden_size=6, embedding_dim=3)
    assert embedded.recurrent.input_size == 3
    assert embedded(symbols).shape == (2, 4)


@each_module
def test_it_goes_on_from_a_state(module):
    """Two halves, connected by the state, give the outputs of the whole sequence."""
    model, x = module(3, 4, hidden_size=6, many_to_many=True), torch.randn(2, 8, 3)
    start, hiddens = model.advance(x[:, :5])
    end, _ = model.advance(x[:, 5:], hiddens)
    torch.testing.assert_close(torch.cat([start, end], dim=1), model(x))


@each_module
def test_dropout_acts_while_training_only(module):
    """Dropout applies between layers and before the head, in training only."""
    model, x = module(3, 4, hidden_size=6, num_layers=2, dropout=0.5), torch.randn(2, 7, 3)
    assert model.recurrent.dropout == 0.5
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))
    single = module(3, 4, hidden_size=6, dropout=0.5)
    assert not torch.equal(single(x), single(x))


@each_module
def test_the_start_can_be_chosen(module):
    """`init` and `init_gain` set the recurrent blocks, `weight_std` the input and output weights."""
    torch.manual_seed(0)
    model = module(30, 40, hidden_size=20, init="orthogonal", init_gain=0.9, weight_std=0.3)
    for block in model.recurrent.weight_hh_l0.detach().split(20):
        torch.testing.assert_close(block @ block.T, 0.81 * torch.eye(20), atol=1e-5, rtol=0)
    for weight in (model.recurrent.weight_ih_l0, model.head.weight):
        assert float(weight.detach().std()) == pytest.approx(0.3, rel=0.1)
    assert not model.head.bias.any()


@each_module
def test_penalties_touch_recurrent_weights_only(module):
    """Penalties add `l1 sign(w) + 2 l2 w` to the gradient of every `weight_hh`; the logged loss excludes them."""
    torch.manual_seed(0)
    plain = module(6, 4, hidden_size=5, num_layers=2)
    penalized = copy.deepcopy(plain)
    penalized.recurrent_l1, penalized.recurrent_l2 = 0.3, 0.7
    before, after = first_gradients(plain), first_gradients(penalized)
    for name, param in plain.named_parameters():
        extra = 0.3 * param.sign() + 1.4 * param if "weight_hh" in name else torch.zeros_like(param)
        torch.testing.assert_close(after[name], before[name] + extra.detach(), msg=name)
    losses = [float(model.trainer.callback_metrics["train_loss"]) for model in (plain, penalized)]
    assert losses[0] == losses[1]


TRAINED = {
    "temporal-order": (small(TemporalOrderDataModule), (6, 4), {}, {"loss", "error"}),
    "memorization": (small(MemorizationDataModule), (4, 3), {"many_to_many": True}, {"loss", "error"}),
    "adding": (small(AddingProblemDataModule), (2, 1), {"task": "regression"}, {"mse", "error"}),
    "digits": (SequentialDigitsDataModule(), (1, 10), {"num_layers": 2, "dropout": 0.1}, {"loss", "error"}),
    "text": (text(), (5, 5), {"task": "next_token", "embedding_dim": 3}, {"bits_per_char"}),
}


@each_module
@pytest.mark.parametrize(("data", "sizes", "options", "measured"), TRAINED.values(), ids=TRAINED)
def test_it_trains_on_data_of_every_kind(module, data, sizes, options, measured):
    """A few steps change every parameter, and evaluation logs the metrics of the task."""
    torch.manual_seed(0)
    model = module(*sizes, hidden_size=6, init="orthogonal", optimizer=partial(torch.optim.SGD, lr=0.1), **options)
    start = copy.deepcopy(model)
    trainer = quiet_trainer(max_epochs=1, limit_train_batches=2)
    of_module = isinstance(data, LightningDataModule)
    trainer.fit(model, data) if of_module else trainer.fit(model, data, data)
    assert trainer.callback_metrics.keys() == {"train_loss"} | {f"val_{name}" for name in measured}
    moved = {name: not torch.equal(p, start.get_parameter(name)) for name, p in model.named_parameters()}
    assert all(moved.values()), moved
    (tested,) = trainer.test(model, data, verbose=False)
    assert tested.keys() == {f"test_{name}" for name in measured}
    assert all(math.isfinite(value) for value in tested.values())


def test_metrics_are_means_over_all_sequences():
    """Metrics weight batches of 4 and 2 sequences by their numbers of sequences and steps."""
    model, data = RNNModule(5, 5, task="next_token", hidden_size=6), text()
    (tested,) = quiet_trainer().test(model, data, verbose=False)
    inputs, targets = data.dataset.tensors
    chances = model(inputs).softmax(dim=-1).gather(2, targets[..., None])
    assert tested["test_bits_per_char"] == pytest.approx(float(-chances.log2().mean().detach()), rel=1e-5)

    model = RNNModule(5, 5, many_to_many=True, hidden_size=6)
    (tested,) = quiet_trainer().test(model, data, verbose=False)
    wrong = (model(inputs).argmax(-1) != targets).any(1)
    assert tested["test_error"] == pytest.approx(float(wrong.float().mean()))


def test_the_data_module_says_what_is_wrong():
    """The data module's `wrong` defines `error`: a sum that is off by at most 0.2 is right."""
    data, model = small(AddingProblemDataModule), RNNModule(2, 1, task="regression", hidden_size=6)
    model.head.weight.data.zero_()
    model.head.bias.data.fill_(0.5)
    (tested,) = quiet_trainer().test(model, data, verbose=False)
    ((_, targets),) = data.test_dataloader()
    assert 0 < tested["test_error"] < 1
    assert tested["test_error"] == pytest.approx(float(((targets - 0.5).abs() > 0.2).float().mean()))
    assert tested["test_mse"] == pytest.approx(float((targets - 0.5).square().mean()), rel=1e-5)


def test_a_loss_that_is_not_a_number_stays_one():
    """A single NaN among six sequences makes the mean loss NaN."""
    inputs = torch.randn(6, 7, 6)
    inputs[4] = float("nan")
    data = DataLoader(TensorDataset(inputs, torch.zeros(6, dtype=torch.int64)), batch_size=4)
    (tested,) = quiet_trainer().test(RNNModule(hidden_size=6), data, verbose=False)
    assert math.isnan(tested["test_loss"])
    assert tested["test_error"] >= 1 / 6


def test_predictions_do_not_look_at_targets():
    """Prediction returns the outputs of each batch."""
    model, data = RNNModule(hidden_size=6), small(TemporalOrderDataModule)
    (outputs,) = quiet_trainer().predict(model, data)
    assert outputs.shape == (9, 4)


@pytest.mark.parametrize(("task", "watched"), [("classification", "val_loss"), ("regression", "val_mse")])
def test_a_plateau_scheduler_watches_the_first_measure(task, watched):
    """`ReduceLROnPlateau` monitors the first validation metric of the task."""
    plateau = partial(torch.optim.lr_scheduler.ReduceLROnPlateau, patience=0)
    model = RNNModule(task=task, scheduler=plateau)
    assert model.configure_optimizers()["lr_scheduler"]["monitor"] == watched


@each_module
def test_a_checkpoint_restores_the_arguments(module, tmp_path):
    """`load_from_checkpoint` needs no arguments and works with `weights_only`."""
    model = module(3, 2, hidden_size=6, num_layers=2, init="xavier", many_to_many=True)
    trainer = quiet_trainer()
    trainer.strategy.connect(model)
    trainer.save_checkpoint(tmp_path / "model.ckpt", weights_only=True)
    restored = module.load_from_checkpoint(tmp_path / "model.ckpt", weights_only=True)
    assert restored.hparams == model.hparams
    assert (restored.num_layers, restored.init, restored.every_step) == (2, "xavier", True)
    assert torch.equal(restored.recurrent.weight_hh_l1, model.recurrent.weight_hh_l1)


@each_module
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["copy", "pickle"])
def test_it_can_be_sent_to_another_process(module, duplicate):
    """A copy gives the same outputs and builds the same default optimizer."""
    model, x = module(hidden_size=6), torch.randn(2, 7, 6)
    twin = duplicate(model)
    assert torch.equal(twin(x), model(x))
    ours, theirs = model.configure_optimizers(), twin.configure_optimizers()
    assert type(ours) is type(theirs)
    assert ours.defaults == theirs.defaults


@each_module
def test_it_is_built_from_plain_values(module):
    """YAML can set options of the class and its base class, the optimizer and the scheduler."""
    model = built(
        LightningModule,
        module.__name__,
        in_features=5,
        task="next_token",
        out_features=5,
        embedding_dim=3,
        init="identity",
        recurrent_l2=0.1,
        optimizer={"class_path": "torch.optim.RMSprop", "init_args": {"lr": 0.02}},
        scheduler={"class_path": "torch.optim.lr_scheduler.StepLR", "init_args": {"step_size": 3}},
    )
    assert isinstance(model, module)
    assert (model.task, model.embedding_dim, model.init, model.recurrent_l2) == ("next_token", 3, "identity", 0.1)
    configured = model.configure_optimizers()
    assert isinstance(configured["optimizer"], torch.optim.RMSprop)
    assert configured["optimizer"].defaults["lr"] == 0.02
    assert configured["lr_scheduler"]["scheduler"].step_size == 3


@each_module
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"in_features": 0}, ValueError, r"\(in_features=0\): in_features must be at least 1"),
        ({"hidden_size": 2.5}, TypeError, r"\(hidden_size=2\.5\): hidden_size must be a whole number"),
        ({"embedding_dim": 0}, ValueError, r"\(embedding_dim=0\): embedding_dim must be at least 1"),
        ({"task": "poetry"}, ValueError, r"\(task='poetry'\): task must be one of 'classification', 'regression'"),
        ({"init": "zero"}, ValueError, r"\(init='zero'\): init must be one of 'default', 'orthogonal'"),
        ({"dropout": 1.0}, ValueError, r"\(dropout=1\.0\): dropout must be at least 0 and below 1"),
        ({"init_gain": 0.0}, ValueError, r"\(init_gain=0\.0\): init_gain must be a positive number"),
        ({"weight_std": -0.1}, ValueError, r"\(weight_std=-0\.1\): weight_std must be a positive number"),
        ({"grad_clip_output": 0}, ValueError, r"\(grad_clip_output=0\): grad_clip_output must be a positive number"),
        ({"recurrent_l1": -1}, ValueError, r"\(recurrent_l1=-1\): recurrent_l1 must be a number of at least 0"),
        ({"recurrent_l2": -1}, ValueError, r"\(recurrent_l2=-1\): recurrent_l2 must be a number of at least 0"),
        ({"scheduler_interval": "batch"}, ValueError, r"scheduler_interval must be one of 'epoch', 'step'"),
    ],
)
def test_bad_arguments(module, arguments, error, message):
    """Bad arguments raise an error with the class, the call and the rule."""
    with pytest.raises(error, match=module.__name__ + r".*" + message):
        module(**arguments)


@each_module
def test_inputs_of_another_width(module):
    """Inputs of the wrong width raise an error that names the argument to change."""
    with pytest.raises(ValueError, match=r"in_features=6, .*the inputs have 10 features; set in_features=10"):
        module()(torch.zeros(2, 5, 10))
