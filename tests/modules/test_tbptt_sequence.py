"""`TBPTTSequenceModule`: batches of sequences in chunks."""

import math
import sys
from functools import partial

import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.cli import LightningCLI
from torch.nn import functional as F
from torch.utils.data import DataLoader

from lightning_clip import GradientClipping, LSTMModule, NormClip, TBPTTSequenceModule, TemporalOrderDataModule
from tests.support.streaming import fit, sequences
from tests.support.training import assert_same_weights, quiet_trainer

sgd = partial(torch.optim.SGD, lr=0.1)
cells = pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])


def network(cell="lstm", **options):
    torch.manual_seed(0)
    defaults = {"truncated_bptt_steps": 8, "hidden_size": 5, "optimizer": sgd}
    return TBPTTSequenceModule(2, 3, cell=cell, **{**defaults, **options})


def regressor(cell="lstm", **options):
    torch.manual_seed(0)
    defaults = {"truncated_bptt_steps": 8, "hidden_size": 5, "optimizer": sgd, "task": "regression"}
    return TBPTTSequenceModule(2, 1, cell=cell, many_to_many=True, **{**defaults, **options})


def labeled(rows=4, steps=30):
    return sequences(rows, steps)[0], torch.arange(rows) % 3


def loader(*batches):
    return DataLoader(batches, batch_size=None, collate_fn=lambda batch: batch)


@cells
def test_with_one_target_only_the_last_chunk_learns(cell):
    """There is one step per batch; its gradient flows back `backward_steps`, and the state carries the rest."""
    inputs, classes = labeled()
    for back, first in ((None, 24), (16, 16), (32, 0)):
        model, plain = network(cell, backward_steps=back), network(cell)
        trainer = fit(model, loader((inputs, classes)))
        assert trainer.global_step == 1
        with torch.no_grad():
            hiddens = plain.recurrent(inputs[:, :first])[1] if first else None
        loss = F.cross_entropy(plain.advance(inputs[:, first:], hiddens)[0], classes)
        loss.backward()
        plain.configure_optimizers().step()
        for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(trainer.callback_metrics["train_loss"], loss.detach())


@pytest.mark.parametrize("k", [30, 100])
def test_one_chunk_is_the_module_for_whole_sequences(k):
    """With a single chunk, training equals that of `LSTMModule`."""
    batch = labeled()
    model = network(truncated_bptt_steps=k)
    torch.manual_seed(0)
    whole = LSTMModule(2, 3, hidden_size=5, optimizer=sgd)
    for module in (model, whole):
        fit(module, loader(batch, batch), max_epochs=2)
    for ours, theirs in zip(model.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)


@cells
@pytest.mark.parametrize("every_step", [True, False])
def test_padded_sequences_are_as_if_they_had_come_alone(cell, every_step):
    """The loss over chunks of padded sequences equals that of each sequence alone, whatever the padding is."""
    lengths = torch.tensor([30, 17, 16, 3])
    model = regressor(cell) if every_step else network(cell)
    inputs, targets = sequences(4, 30) if every_step else labeled()
    expected = []
    for row, length in enumerate(lengths.tolist()):
        outputs = model(inputs[row : row + 1, :length])
        if every_step:
            expected.append((outputs - targets[row : row + 1, :length]).square().flatten())
        else:
            expected.append(F.cross_entropy(outputs, targets[row : row + 1], reduction="none"))
        inputs[row, length:] = 1e3
    total, count = model.evaluate_chunks((inputs, targets, lengths))
    expected = torch.cat(expected).detach()
    assert int(count) == len(expected)
    torch.testing.assert_close(total, expected.sum())


@cells
def test_padding_does_not_touch_the_gradient(cell):
    """Weights are the same, bit for bit, with and without garbage in the padding."""
    lengths, after = torch.tensor([30, 17, 16, 3]), []
    for garbage in (0.0, 1e3):
        inputs, targets = sequences(4, 30)
        for row, length in enumerate(lengths.tolist()):
            inputs[row, length:], targets[row, length:] = garbage, garbage
        model = regressor(cell)
        fit(model, loader((inputs, targets, lengths)))
        after.append(model)
    assert_same_weights(*after)


def test_sequences_that_end_in_different_chunks_learn_there():
    """Each chunk in which sequences end makes a step, scaled by how many end there."""
    inputs, classes = labeled()
    model, grads = network(optimizer=partial(torch.optim.SGD, lr=0.0)), []
    model.on_before_optimizer_step = lambda optimizer: grads.append(model.head.bias.grad.clone())
    fit(model, loader((inputs, classes, torch.tensor([30, 8, 5, 6]))))
    assert len(grads) == 2
    losses = [
        F.cross_entropy(model(inputs[row : row + 1, :length]), classes[row : row + 1])
        for row, length in enumerate([30, 8, 5, 6])
    ]
    first = torch.autograd.grad((losses[1] + losses[2] + losses[3]) / 3, model.head.bias)[0]
    second = torch.autograd.grad(losses[0] / 3, model.head.bias)[0]
    torch.testing.assert_close(grads[0], first)
    torch.testing.assert_close(grads[1], second)


def test_masked_targets_do_not_count():
    """Masked targets may be NaN, and metrics are means over the others."""
    inputs, targets = sequences(4, 30)
    mask = torch.rand(4, 30, generator=torch.Generator().manual_seed(0)) < 0.4
    mask[:, 8:16] = False
    targets[~mask] = float("nan")
    model = regressor(optimizer=partial(torch.optim.SGD, lr=0.0))
    trainer = fit(model, loader((inputs, targets, mask)))
    expected = (model(inputs) - targets).square()[mask].mean().detach()
    torch.testing.assert_close(trainer.callback_metrics["train_loss"], expected)
    (tested,) = trainer.test(model, loader((inputs, targets, mask)), verbose=False)
    assert tested["test_mse"] == pytest.approx(float(expected), rel=1e-5)
    assert all(param.grad is None or param.grad.isfinite().all() for param in model.parameters())


def test_metrics_are_those_of_whole_sequences():
    """Metrics equal those of whole sequences; for symbols they are in bits, also with lengths."""
    symbols = torch.randint(3, (4, 31), generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    model = TBPTTSequenceModule(3, 3, task="next_token", truncated_bptt_steps=7, optimizer=partial(sgd, lr=0.0))
    inputs, targets = symbols[:, :-1], symbols[:, 1:]
    trainer = fit(model, loader((inputs, targets)))
    losses = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten(), reduction="none").detach()
    torch.testing.assert_close(trainer.callback_metrics["train_loss_epoch"], losses.mean())
    lengths = torch.tensor([30, 9, 8, 1])
    real = torch.cat([rows[:length] for rows, length in zip(losses.reshape(4, 30), lengths, strict=True)])
    for batch, chosen in [((inputs, targets), losses), ((inputs, targets, lengths), real)]:
        (tested,) = quiet_trainer().test(model, loader(batch), verbose=False)
        assert tested["test_bits_per_char"] == pytest.approx(float(chosen.mean()) / math.log(2), rel=1e-5)


@pytest.mark.parametrize("options", [{}, {"accumulate_chunks": 2}, {"backward_steps": 16}])
def test_clipping_acts_on_top(options):
    """`GradientClipping` clips every optimizer step, also with targets after the last step only."""
    for model, batch, steps in [(regressor(**options), sequences(4, 30), 4), (network(**options), labeled(), 1)]:
        callback = GradientClipping(NormClip(0.01))
        trainer = fit(model, loader(batch), callbacks=[callback])
        assert trainer.global_step == len(callback.history) == -(-steps // options.get("accumulate_chunks", 1))
        assert all(record.norm_after <= 0.01 * (1 + 1e-5) for record in callback.history)


def test_penalties_are_minimised_in_training_only():
    """Penalties are part of the training loss and not of the metrics."""
    batch = sequences(4, 30)
    plain, shrunk = regressor(), regressor(recurrent_l2=1.0)
    measured = [model.eval().evaluate_chunks(batch)[0] for model in (plain, shrunk)]
    assert measured[0] == measured[1]
    for model in (plain.train(), shrunk.train()):
        fit(model, loader(batch))
    assert shrunk.recurrent.weight_hh_l0.norm() < 0.9 * plain.recurrent.weight_hh_l0.norm()


def test_dropout_and_clamped_outputs_work_with_lengths_too():
    """Dropout and output clamping act the same on padded rows."""
    batch = sequences(4, 30)
    full = torch.full((4,), 30)
    for options in ({"dropout": 0.5}, {"grad_clip_output": 1e-4}):
        models = [regressor(**options) for _ in range(2)]
        for model, rest in zip(models, ((), (full,)), strict=True):
            torch.manual_seed(1)
            fit(model, loader((*batch, *rest)))
        for ours, theirs in zip(*(model.parameters() for model in models), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("interval", ["step", "epoch"])
def test_schedulers_move(interval):
    """Schedulers step in manual optimization, and a plateau scheduler monitors the validation metric."""
    halving = partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5)
    model = regressor(scheduler=halving, scheduler_interval=interval)
    trainer = fit(model, loader(sequences(4, 30)), max_epochs=2)
    assert trainer.optimizers[0].param_groups[0]["lr"] == 0.1 * 0.5 ** (8 if interval == "step" else 2)
    plateau = partial(torch.optim.lr_scheduler.ReduceLROnPlateau, mode="max", patience=0, factor=0.5)
    model = regressor(scheduler=plateau)
    run = quiet_trainer(max_epochs=3)
    run.fit(model, loader(sequences(4, 30)), loader(sequences(4, 30)))
    assert run.optimizers[0].param_groups[0]["lr"] < 0.1


def test_it_learns_what_lies_further_back_than_a_chunk():
    """It learns the order of two symbols in 50 steps with chunks of 25 and gradients through two of them."""
    torch.manual_seed(0)
    model = TBPTTSequenceModule(
        cell="rnn",
        nonlinearity="relu",
        init="identity",
        hidden_size=32,
        truncated_bptt_steps=25,
        backward_steps=50,
        optimizer=partial(torch.optim.Adam, lr=2e-3),
    )
    data = TemporalOrderDataModule(50, seed=0, n_val=200)
    solved = EarlyStopping("val_error", stopping_threshold=0.05, patience=6, check_on_train_epoch_end=False)
    callbacks = [GradientClipping(NormClip(1.0)), solved]
    trainer = fit(model, data, callbacks=callbacks, max_epochs=6, limit_val_batches=1.0)
    assert trainer.callback_metrics["val_error"] < 0.05


def test_it_is_saved_and_loaded(tmp_path):
    """It loads from a checkpoint with `weights_only`."""
    model = network("gru", forget_bias=1.0, backward_steps=16, accumulate_chunks=2)
    fit(model, loader(labeled())).save_checkpoint(tmp_path / "end.ckpt")
    loaded = TBPTTSequenceModule.load_from_checkpoint(tmp_path / "end.ckpt", weights_only=True)
    assert (loaded.truncated_bptt_steps, loaded.backward_steps, loaded.accumulate_chunks) == (8, 16, 2)
    assert_same_weights(loaded, model)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Lightning calls what jsonargparse deprecates
def test_the_command_line_makes_it(monkeypatch):
    """The command line accepts its own arguments and those of `RecurrentModule`."""
    arguments = ["--model=lightning_clip.TBPTTSequenceModule", "--model.cell=rnn", "--model.nonlinearity=relu"]
    arguments += ["--model.truncated_bptt_steps=5", "--model.backward_steps=10", "--model.init=identity"]
    monkeypatch.setattr(sys, "argv", ["program", *arguments, "--model.many_to_many=true", "--model.optimizer.lr=0.5"])
    made = LightningCLI(run=False, save_config_callback=None, seed_everything_default=0).model
    assert (made.truncated_bptt_steps, made.backward_steps, made.init) == (5, 10, "identity")
    assert made.every_step
    assert made.configure_optimizers().defaults["lr"] == 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"truncated_bptt_steps": 0}, r"TBPTTSequenceModule\(truncated_bptt_steps=0\)"),
        ({"truncated_bptt_steps": 4, "backward_steps": 6}, "must be a multiple of truncated_bptt_steps"),
        ({"cell": "cnn"}, r"cell='cnn'\): cell must be one of"),
        ({"cell": "rnn", "forget_bias": 1.0}, "a plain RNN has no gates"),
        ({"task": "sorting"}, "task must be one of"),
    ],
)
def test_bad_arguments(arguments, message):
    """Bad arguments raise an error with the call and the rule."""
    with pytest.raises(ValueError, match=message):
        TBPTTSequenceModule(**arguments)
