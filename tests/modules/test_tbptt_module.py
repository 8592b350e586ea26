"""`TBPTTModule`: losses, steps and metrics on streams."""

import copy
import math
import pickle
import sys
from functools import partial

import pytest
import torch
from lightning.pytorch.cli import LightningCLI
from torch import nn

from lightning_clip import CharTextDataModule, GradientClipping, NormClip, TBPTTModule
from lightning_clip.datamodules import NormalLengths, RandomTruncation
from tests.support.streaming import SaveAt, fit, series, streams_of
from tests.support.tbptt_networks import by_hand, losses_of, network, reader, symbols
from tests.support.training import assert_same_weights

cells = pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])


@pytest.mark.parametrize(
    ("cell", "kind", "law"),
    [
        pytest.param(cell, kind, law, marks=() if law is None or cell == "lstm" else pytest.mark.slow)
        for cell in ("rnn", "lstm", "gru")
        for kind in ("numbers", "symbols")
        for law in (None, NormalLengths(2.0, min_steps=3))
    ],
)
def test_it_trains_as_a_loop_written_by_hand(cell, kind, law):
    """Training equals a handwritten loop in which short chunks have smaller gradients and padding is masked."""
    make, data_of = (network, streams_of) if kind == "numbers" else (reader, symbols)
    model, plain, data = make(cell), make(cell), data_of(203, chunk_lengths=law, seed=0)
    fit(model, data, max_epochs=2)
    by_hand(plain, data, epochs=2)
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@cells
def test_one_chunk_is_full_backpropagation(cell):
    """A chunk as long as the streams, or longer, gives the gradient of full backpropagation, bit for bit."""
    grads = []
    for k in (75, 1000):
        model = reader(cell)
        model.on_after_backward = lambda model=model: grads.append(model.recurrent.weight_hh_l0.grad.clone())
        fit(model, symbols(301, truncated_bptt_steps=k))
    plain, (chunk,) = reader(cell), symbols(301, truncated_bptt_steps=75).train_dataloader()
    (losses_of(plain, chunk, None)[0].sum() / 300).backward()
    assert torch.equal(grads[0], grads[1])
    assert torch.equal(grads[0], plain.recurrent.weight_hh_l0.grad)


def test_random_truncation_multiplies_messages():
    """Training with random truncation equals a handwritten loop that rescales gradients at possible cuts."""
    model, plain, data = network("gru"), network("gru"), streams_of(403, chunk_lengths=RandomTruncation(0.4), seed=1)
    fit(model, data)
    optimizer, hiddens, lengths = torch.optim.SGD(plain.parameters(), lr=0.1), None, set()
    for chunk in data.train_dataloader():
        lengths.add(chunk.inputs.shape[1])
        optimizer.zero_grad()
        total = 0.0
        for number, (x, y, mask) in enumerate(
            zip(*(part.split(8, 1) for part in (chunk.inputs, chunk.targets, chunk.mask)), strict=True)
        ):
            if number:
                hiddens.register_hook(lambda grad: grad / 0.6)
            outputs, hiddens = plain.advance(x, hiddens)
            total = total + ((outputs - y).square().mean(-1) * mask).sum()
        (total / (4 * 8)).backward()
        optimizer.step()
        hiddens = hiddens.detach()
    assert max(lengths) > 16
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_metrics_are_means_over_all_targets():
    """Epoch metrics equal one pass over the streams, whatever the chunks are; bits are nats over log 2."""
    model = reader(optimizer=partial(torch.optim.SGD, lr=0.0))
    data = symbols(1000, val_fraction=0.25, test_fraction=0.25)
    trainer = fit(model, data, limit_val_batches=1.0)
    logged = {**trainer.callback_metrics, **trainer.test(model, data, verbose=False)[0]}
    for split, targets in [("train", 499), ("val", 249), ("test", 249)]:
        hiddens, total, count = None, 0.0, 0
        for chunk in getattr(data, f"{split}_dataloader")():
            losses, hiddens = losses_of(model, chunk, hiddens)
            total, count = total + (losses * chunk.mask).sum().item(), count + int(chunk.mask.sum())
        assert count == targets
        assert float(logged[f"{split}_bits_per_char"]) == pytest.approx(total / count / math.log(2), rel=1e-5)


def test_the_error_of_numbers_is_a_mean_square():
    """The metric for numbers is the mean squared error, in squared units of the target."""
    model = network(optimizer=partial(torch.optim.SGD, lr=0.0))
    data = streams_of(203)
    metrics = fit(model, data).callback_metrics
    walk = series(203)
    rows = [walk[202 * i // 4 : 202 * (i + 1) // 4 + 1] for i in range(4)]
    errors = [(model(row[None, :-1]) - row[None, 1:]).square().mean(-1).flatten() for row in rows]
    torch.testing.assert_close(metrics["train_mse"], torch.cat(errors).mean().detach())
    assert metrics.keys() == {"train_loss", "train_mse"}


def test_clipping_on_top_equals_the_trainers_own():
    """`GradientClipping` equals the Trainer's clipping bit for bit, with random lengths and scaled steps."""
    options = {"chunk_lengths": NormalLengths(2.0, min_steps=3)}
    ours, theirs = reader(scale_steps_by="lr"), reader(scale_steps_by="lr")
    callback = GradientClipping(NormClip(0.1))
    trainer = fit(ours, symbols(**options, seed=0), callbacks=[callback], max_epochs=2)
    fit(theirs, symbols(**options, seed=0), gradient_clip_val=0.1, max_epochs=2)
    assert_same_weights(ours, theirs)
    assert len(callback.history) == trainer.global_step
    assert callback.history.aggregates[0].clipped > 0


def test_penalties_are_minimised_and_not_reported():
    """A penalty shrinks the recurrent weights, and `train_loss` excludes it."""
    plain, shrunk = network(), network(recurrent_l2=1.0)
    runs = [fit(model, streams_of(), limit_train_batches=1) for model in (plain, shrunk)]
    assert len({float(run.callback_metrics["train_loss"]) for run in runs}) == 1
    assert shrunk.recurrent.weight_hh_l0.norm() < plain.recurrent.weight_hh_l0.norm()


def test_predictions_go_on_from_chunk_to_chunk():
    """Predictions of chunks equal those of whole streams."""
    model, data = network(), streams_of(1003, val_fraction=0.3, test_fraction=0.5)
    trainer = fit(model, data, limit_train_batches=1)
    parts = trainer.predict(model, data)
    chunks = list(data.predict_dataloader())
    expected = model(torch.cat([chunk.inputs for chunk in chunks], dim=1)).detach()
    torch.testing.assert_close(torch.cat(parts, dim=1), expected)


@pytest.mark.parametrize("bias", [1.0, "chrono"])
def test_gates_start_as_is_said(bias):
    """`forget_bias` sets the gates of both an LSTM and a GRU."""
    for cell in ("lstm", "gru"):
        model = network(cell, forget_bias=bias, max_lag=30)
        total = (model.recurrent.bias_ih_l0 + model.recurrent.bias_hh_l0)[5:10]
        assert (total >= 0).all()
        assert (total == 1.0).all() or bias == "chrono"


def test_it_is_saved_and_loaded(tmp_path):
    """It loads from a checkpoint with `weights_only`, and can be copied and pickled."""
    model = reader("gru", forget_bias=1.0, scale_steps_by="lr")
    trainer = fit(model, symbols())
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    loaded = TBPTTModule.load_from_checkpoint(tmp_path / "end.ckpt", weights_only=True)
    assert (loaded.cell, loaded.embedding_dim, loaded.scale_steps_by) == ("gru", 3, "lr")
    assert_same_weights(loaded, model)
    for twin in (copy.deepcopy(TBPTTModule()), pickle.loads(pickle.dumps(TBPTTModule()))):
        assert twin.configure_optimizers().defaults["lr"] == 0.003


@pytest.mark.parametrize("step", [2, 11])
def test_a_resumed_training_is_the_same(tmp_path, step):
    """A resumed run with random lengths and Adam equals an uninterrupted one, bit for bit."""
    options = {"chunk_lengths": NormalLengths(2.0, min_steps=3), "seed": 0}
    make = partial(reader, optimizer=partial(torch.optim.Adam, lr=0.01))
    full, resumed = make(), make()
    fit(full, symbols(**options), max_epochs=3, callbacks=[SaveAt(step, tmp_path / "mid.ckpt")])
    fit(resumed, symbols(**options), max_epochs=3, ckpt_path=tmp_path / "mid.ckpt")
    assert_same_weights(full, resumed)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Lightning calls what jsonargparse deprecates
def test_the_command_line_makes_it(monkeypatch):
    """The command line accepts its own arguments and those of `RecurrentModule`."""
    arguments = ["--model=lightning_clip.TBPTTModule", "--model.cell=gru", "--model.forget_bias=chrono"]
    arguments += ["--model.max_lag=50", "--model.init=orthogonal", "--model.optimizer.lr=0.5", "--model.hidden_size=7"]
    monkeypatch.setattr(sys, "argv", ["program", *arguments])
    made = LightningCLI(run=False, save_config_callback=None, seed_everything_default=0).model
    assert isinstance(made.recurrent, nn.GRU)
    assert (made.forget_bias, made.init, made.hidden_size) == ("chrono", "orthogonal", 7)
    assert made.configure_optimizers().defaults["lr"] == 0.5


def test_the_built_in_text_goes_with_the_defaults():
    """Data module and module have the same number of symbols by default."""
    data, model = CharTextDataModule(), TBPTTModule()
    assert (data.in_features, data.out_features) == (model.in_features, model.out_features)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cell": "cnn"}, r"TBPTTModule\(cell='cnn'\): cell must be one of 'rnn', 'lstm', 'gru'"),
        ({"task": "classification"}, r"task='classification'\): task must be one of 'next_token', 'regression'"),
        ({"scale_steps_by": "time"}, r"scale_steps_by='time'\): scale_steps_by must be one of 'loss', 'lr'"),
        ({"cell": "rnn", "forget_bias": 1.0}, r"TBPTTModule\(cell='rnn', forget_bias=1\.0\): a plain RNN has no gates"),
        ({"nonlinearity": "relu"}, "nonlinearity applies only to cell='rnn'"),
        ({"forget_bias": "chrono"}, "max_lag, the longest lag in steps, must be at least 3"),
        ({"hidden_size": 0}, "hidden_size must be at least 1"),
        ({"many_to_many": False}, r"many_to_many=False\): streams have a target at every step"),
    ],
)
def test_bad_arguments(arguments, message):
    """Bad arguments raise an error with the call and the rule."""
    with pytest.raises(ValueError, match=message):
        TBPTTModule(**arguments)
