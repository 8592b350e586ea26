"""`TruncatedBPTTMixin`: truncated backpropagation within a batch, against handwritten loops."""

import pytest
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from lightning_clip import GradientClipping, NonFiniteGuard, NormClip
from lightning_clip.modules.tbptt.hiddens import map_hiddens
from tests.support.kernels import skip_without_kernel
from tests.support.streaming import Splitting, fit, loader, sequences
from tests.support.training import assert_same_weights

cells = pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])


def detached(hiddens):
    return map_hiddens(torch.Tensor.detach, hiddens)


def by_hand(model, batches, k, *, accumulate=1):
    """Train on chunks of k steps, weighted by their length relative to the longest."""
    optimizer = model.configure_optimizers()
    for inputs, targets in batches:
        hiddens, chunks = None, list(zip(inputs.split(k, 1), targets.split(k, 1), strict=True))
        longest = chunks[0][0].shape[1]
        optimizer.zero_grad()
        for number, (x, y) in enumerate(chunks, start=1):
            outputs, hiddens = model.rnn(x, hiddens)
            hiddens = detached(hiddens)
            loss = F.mse_loss(model.head(outputs), y)
            (loss * (x.shape[1] / longest) / accumulate).backward()
            if number % accumulate == 0 or number == len(chunks):
                optimizer.step()
                optimizer.zero_grad()


@cells
@pytest.mark.parametrize("k", [5, 8, 30])
def test_it_trains_as_a_loop_written_by_hand(cell, k):
    """Chunks have k steps, each makes an optimizer step, and a short last chunk is weighted by its length."""
    model, plain = Splitting(cell, truncated_bptt_steps=k), Splitting(cell, truncated_bptt_steps=k)
    trainer = fit(model, loader())
    by_hand(plain, loader(), k)
    assert [steps for steps, _ in model.calls[: -(-30 // k)]] == [len(part) for part in torch.arange(30).split(k)]
    assert trainer.global_step == 2 * -(-30 // k)
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)


@cells
@pytest.mark.parametrize("k", [30, 31, 1000])
def test_chunks_as_long_as_the_sequence_are_full_backpropagation(cell, k):
    """A single chunk trains as automatic optimization on whole sequences, bit for bit."""

    class Whole(Splitting):
        def __init__(self, cell):
            super().__init__(cell, truncated_bptt_steps=1)
            self.automatic_optimization = True

        def training_step(self, batch, batch_idx):
            return self.tbptt_step(batch, None)[0]

        def on_train_epoch_end(self):
            pass

    model, whole = Splitting(cell, truncated_bptt_steps=k), Whole(cell)
    fit(model, loader(), max_epochs=2)
    fit(whole, loader(), max_epochs=2)
    assert_same_weights(model.rnn, whole.rnn)
    assert_same_weights(model.head, whole.head)


@cells
def test_the_state_comes_from_the_chunk_before_without_its_graph(cell):
    """The state is `None` at the start of each batch, then detached tensors in the structure of the layer."""
    model = Splitting(cell, truncated_bptt_steps=10, lr=0.0)
    fit(model, loader())
    states = [hiddens for _, hiddens in model.calls]
    assert [state is None for state in states] == [True, False, False] * 2
    assert type(states[1]) is (tuple if cell == "lstm" else torch.Tensor)
    expected = model.rnn(sequences()[0][:3, :10])[1]
    for state, last in zip(*(state if cell == "lstm" else [state] for state in (states[1], expected)), strict=True):
        assert state.grad_fn is None
        torch.testing.assert_close(state, last.detach())


def test_gradients_flow_back_as_far_as_is_said():
    """With k2 = 3 k1, each chunk's gradient is that of its loss over the last 3 k1 steps, at frozen weights."""
    k1, k2, steps = 4, 12, 20
    model, (inputs, targets) = Splitting(truncated_bptt_steps=k1, backward_steps=k2, lr=0.0), sequences(2, steps)
    grads, states = [], [None]
    model.on_before_optimizer_step = lambda optimizer: grads.append(model.rnn.weight_hh_l0.grad.clone())
    fit(model, DataLoader(TensorDataset(inputs, targets), batch_size=2))
    for start in range(0, steps, k1):
        states.append(detached(model.rnn(inputs[:, start : start + k1], states[-1])[1]))
    for number, start in enumerate(range(0, steps, k1)):
        first = max(0, number - 2)
        outputs, _ = model.rnn(inputs[:, first * k1 : start + k1], states[first])
        loss = F.mse_loss(model.head(outputs)[:, -k1:], targets[:, start : start + k1])
        torch.testing.assert_close(grads[number], torch.autograd.grad(loss, model.rnn.weight_hh_l0)[0])
    short = [steps for steps, _ in model.calls]
    assert len(short) == 1 + 2 + 3 + 3 + 3


def test_a_window_as_long_as_the_sequence_is_full_backpropagation():
    """With k2 = T, the last chunk's gradient is that of its loss through all steps."""
    model, (inputs, targets) = Splitting(truncated_bptt_steps=5, backward_steps=20, lr=0.0), sequences(2, 20)
    grads = []
    model.on_before_optimizer_step = lambda optimizer: grads.append(model.rnn.weight_hh_l0.grad.clone())
    fit(model, DataLoader(TensorDataset(inputs, targets), batch_size=2))
    loss = F.mse_loss(model.head(model.rnn(inputs)[0])[:, -5:], targets[:, -5:])
    torch.testing.assert_close(grads[-1], torch.autograd.grad(loss, model.rnn.weight_hh_l0)[0])


@pytest.mark.parametrize(("k", "accumulate"), [(5, 2), (8, 3), (5, 100)])
def test_accumulation_sums_the_gradients_of_chunks(k, accumulate):
    """Gradients are divided by `accumulate_chunks`, the batch ends with a step, and the state carries on."""
    options = {"truncated_bptt_steps": k, "accumulate_chunks": accumulate}
    model, plain = Splitting(**options), Splitting(**options)
    trainer = fit(model, loader())
    by_hand(plain, loader(), k, accumulate=accumulate)
    chunks = -(-30 // k)
    assert trainer.global_step == 2 * -(-chunks // accumulate)
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)


def test_a_short_chunk_has_a_small_gradient():
    """Of chunks with 8, 8 and 4 steps, the last has half the gradient of its mean loss."""
    model, (inputs, targets) = Splitting(truncated_bptt_steps=8, lr=0.0), sequences(2, 20)
    grads = []
    model.on_before_optimizer_step = lambda optimizer: grads.append(model.head.weight.grad.clone())
    fit(model, DataLoader(TensorDataset(inputs, targets), batch_size=2))
    hiddens = model.rnn(inputs[:, :16])[1]
    loss = F.mse_loss(model.head(model.rnn(inputs[:, 16:], hiddens)[0]), targets[:, 16:])
    torch.testing.assert_close(grads[-1], 0.5 * torch.autograd.grad(loss, model.head.weight)[0])


def test_the_logged_loss_is_the_mean_over_all_targets():
    """Logged losses are means over targets, also if the last batch has fewer rows or the last chunk fewer steps."""
    model, data = Splitting(truncated_bptt_steps=8, lr=0.0), loader(rows=5)
    metrics = fit(model, data).callback_metrics
    inputs, targets = sequences(5, 30)
    offline = (model.head(model.rnn(inputs)[0]) - targets).square().detach()
    torch.testing.assert_close(metrics["train_loss_epoch"], offline.mean())
    torch.testing.assert_close(metrics["train_loss"], offline[3:].mean())


def test_evaluation_runs_chunk_by_chunk():
    """`evaluate_chunks` runs chunks of `truncated_bptt_steps` and gives the loss of whole sequences."""
    model, (inputs, targets) = Splitting(truncated_bptt_steps=8), sequences(4, 30)
    with torch.no_grad():
        total, count = model.evaluate_chunks((inputs, targets))
        offline = F.mse_loss(model.head(model.rnn(inputs)[0]), targets, reduction="sum")
    assert [steps for steps, _ in model.calls] == [8, 8, 8, 6]
    assert int(count) == 120
    torch.testing.assert_close(total, offline)


# Clipping, schedulers, precision, limits


@pytest.mark.parametrize("accumulate", [1, 3])
def test_clipping_acts_once_an_optimizer_step(accumulate):
    """Clipping acts on the gradient of each optimizer step, as `clip_grad_norm_` in a handwritten loop."""
    options = {"truncated_bptt_steps": 5, "accumulate_chunks": accumulate}
    model, plain, callback = Splitting(**options), Splitting(**options), GradientClipping(NormClip(0.05))
    trainer = fit(model, loader(), callbacks=[callback])

    class Clipped(torch.optim.SGD):
        def step(self, closure=None):
            nn.utils.clip_grad_norm_(plain.parameters(), 0.05)
            return super().step(closure)

    plain.configure_optimizers = lambda: Clipped(plain.parameters(), lr=0.1)
    by_hand(plain, loader(), 5, accumulate=accumulate)
    records = list(callback.history)
    assert len(records) == trainer.global_step == 2 * -(-6 // accumulate)
    assert all(record.norm_after <= 0.05 * (1 + 1e-6) for record in records)
    assert any(record.clipped for record in records)
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "64-true"])
@cells
def test_other_precisions_train(cell, precision):
    """Training works in other precisions, and the state has one dtype in all chunks."""
    skip_without_kernel(cell, precision)
    model = Splitting(cell, truncated_bptt_steps=5)
    trainer = fit(model, loader(), precision=precision)
    dtypes = set()
    for _, hiddens in model.calls:
        map_hiddens(lambda state: (dtypes.add(state.dtype), state)[1], hiddens)
    assert len(dtypes) == 1
    assert trainer.callback_metrics["train_loss"].isfinite()


def test_max_steps_is_exact():
    """`max_steps` can stop within a batch; the logged loss is then that of the chunks that ran."""
    model = Splitting(truncated_bptt_steps=5, lr=0.0)
    trainer = fit(model, loader(), max_epochs=-1, max_steps=8)
    inputs, targets = (part[3:, :10] for part in sequences())
    assert trainer.global_step == 8
    expected = F.mse_loss(model.head(model.rnn(inputs)[0]), targets).detach()
    torch.testing.assert_close(trainer.callback_metrics["train_loss"], expected)


def test_several_optimizers_are_refused():
    """Several optimizers raise an error."""
    model = Splitting(truncated_bptt_steps=5)
    model.configure_optimizers = lambda: [
        torch.optim.SGD(part.parameters(), lr=1.0) for part in (model.rnn, model.head)
    ]
    with pytest.raises(
        MisconfigurationException,
        match="Splitting has several optimizers; return a single one from configure_optimizers",
    ):
        fit(model, loader())


def test_the_dimension_of_time_can_be_the_first():
    """`time_dim = 0` supports layers that are not batch first."""

    class TimeFirst(Splitting):
        time_dim = 0

    model, plain = TimeFirst(truncated_bptt_steps=8), Splitting(truncated_bptt_steps=8)
    model.rnn.batch_first = False
    (inputs, targets), lines = sequences(3, 30), DataLoader
    first = [(inputs.transpose(0, 1), targets.transpose(0, 1))]
    fit(model, lines(first, batch_size=None, collate_fn=lambda batch: batch))
    by_hand(plain, [(inputs, targets)], 8)
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"truncated_bptt_steps": 0}, ValueError, r"Splitting\(truncated_bptt_steps=0\): .* must be at least 1"),
        ({"truncated_bptt_steps": 2.5}, TypeError, "truncated_bptt_steps must be a whole number"),
        (
            {"truncated_bptt_steps": 4, "backward_steps": 10},
            ValueError,
            r"truncated_bptt_steps=4, backward_steps=10\): backward_steps must be a multiple of truncated_bptt_steps",
        ),
        ({"truncated_bptt_steps": 4, "backward_steps": 0}, ValueError, "backward_steps must be at least 1"),
        ({"truncated_bptt_steps": 4, "backward_steps": 2}, ValueError, "must be a multiple of truncated_bptt_steps"),
        ({"truncated_bptt_steps": 4, "accumulate_chunks": 0}, ValueError, "accumulate_chunks must be at least 1"),
    ],
)
def test_bad_arguments(arguments, error, message):
    """Bad arguments raise an error with the call and the rule."""
    with pytest.raises(error, match=message):
        Splitting(**arguments)


@cells
@pytest.mark.parametrize("backward_steps", [5, 10])
def test_a_bad_chunk_does_not_poison_the_rest_of_its_batch(cell, backward_steps):
    """The guard skips the steps that see the bad chunk, and the next one starts from a fresh state."""
    inputs, targets = sequences(3, 30)
    inputs[1, 7] = float("nan")
    model, guard = Splitting(cell, truncated_bptt_steps=5, backward_steps=backward_steps), NonFiniteGuard()
    clipping = GradientClipping()
    fit(model, DataLoader(TensorDataset(inputs, targets), batch_size=3), callbacks=[clipping, guard])
    skipped = [record.step for record in clipping.history if record.skipped]
    assert skipped == list(range(1, 1 + backward_steps // 5))
    assert guard.total == len(skipped)
    assert all(param.isfinite().all() for param in model.parameters())


@pytest.mark.parametrize(
    ("wrong", "given"), [(lambda loss, state: loss, "one Tensor"), (lambda loss, state: (loss, state, 0), "3 values")]
)
def test_a_step_that_returns_no_pair_is_told(wrong, given):
    """The error names the module and what to return."""

    class Forgetful(Splitting):
        def tbptt_step(self, chunk, hiddens):
            return wrong(*super().tbptt_step(chunk, hiddens))

    message = rf"^Forgetful\.tbptt_step\(chunk, hiddens\) returned {given}: it must return the loss of the chunk and"
    with pytest.raises(TypeError, match=message):
        fit(Forgetful("gru", truncated_bptt_steps=5), loader())
