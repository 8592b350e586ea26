"""`TBPTTModule`: a short chunk moves the weights less, by its gradient or by the learning rate."""

from functools import partial

import pytest
import torch

from lightning_clip.datamodules import NormalLengths
from lightning_clip.modules.tbptt.hiddens import map_hiddens
from lightning_clip.modules.tbptt_module import scaled_learning_rate
from tests.support.streaming import fit, streams_of
from tests.support.tbptt_networks import losses_of, network

sgd = partial(torch.optim.SGD, lr=0.1)
cells = pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])


def test_the_gradient_of_a_short_chunk_is_small():
    """At frozen weights, the gradient of a short chunk is scaled by its relative length."""
    model, grads = network(optimizer=partial(torch.optim.SGD, lr=0.0)), []
    model.on_after_backward = lambda: grads.append(model.head.bias.grad.clone())
    data = streams_of(205, truncated_bptt_steps=20)
    fit(model, data)
    hiddens, chunks = None, list(data.train_dataloader())
    for chunk in chunks:
        losses, hiddens = losses_of(model, chunk, hiddens)
    expected = torch.autograd.grad(losses.mean(), model.head.bias)[0]
    assert chunks[-1].inputs.shape[1] == 11
    torch.testing.assert_close(grads[-1], 11 / 20 * expected)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_learning_rate_of_a_short_chunk_can_be_small_instead(accumulate):
    """With `scale_steps_by="lr"`, losses are means and learning rates are scaled by the lengths of the chunks."""
    law = NormalLengths(2.0, min_steps=3)
    model, plain = network(scale_steps_by="lr"), network()
    data = streams_of(201, chunk_lengths=law)
    fit(model, data, accumulate_grad_batches=accumulate)
    hiddens, waiting, chunks = None, [], list(data.train_dataloader())
    assert len({chunk.inputs.shape[1] for chunk in chunks}) > 2
    for number, chunk in enumerate(chunks, start=1):
        losses, hiddens = losses_of(plain, chunk, hiddens)
        hiddens = map_hiddens(torch.Tensor.detach, hiddens)
        (losses.sum() / chunk.mask.sum() / accumulate).backward()
        waiting.append(chunk.inputs.shape[1] / 8)
        if number % accumulate == 0 or number == len(chunks):
            factor = sum(waiting) / len(waiting)
            waiting.clear()
            for param in plain.parameters():
                param.data -= 0.1 * factor * param.grad
                param.grad = None
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_the_two_ways_are_the_same_for_plain_sgd():
    """Scaling the loss or the learning rate is the same for SGD, but not for Adam, which ignores the loss scale."""
    law = NormalLengths(2.0, min_steps=3)
    for optimizer, same in ((sgd, True), (partial(torch.optim.Adam, lr=0.01), False)):
        models = [network(scale_steps_by=by, optimizer=optimizer) for by in ("loss", "lr")]
        for model in models:
            fit(model, streams_of(201, chunk_lengths=law))
        first, second = (model.recurrent.weight_hh_l0 for model in models)
        assert torch.allclose(first, second, rtol=1e-4, atol=1e-6) is same


def test_the_learning_rate_is_put_back():
    """Schedulers and monitors see the unscaled learning rate."""
    model = network(
        scale_steps_by="lr",
        scheduler=partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5),
        scheduler_interval="step",
    )
    trainer = fit(model, streams_of(201, chunk_lengths=NormalLengths(2.0, min_steps=3)))
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.1 * 0.5**trainer.global_step)


def test_a_step_is_as_long_as_the_factor_says():
    """The factor applies to the learning rates of all parameter groups."""
    first, second = torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    sgd = torch.optim.SGD([{"params": [first], "lr": 1.0}, {"params": [second], "lr": 10.0}])
    first.grad, second.grad = torch.ones(1), torch.ones(1)
    with scaled_learning_rate(sgd, 0.25):
        sgd.step()
    assert (first.item(), second.item()) == (-0.25, -2.5)
    assert [group["lr"] for group in sgd.param_groups] == [1.0, 10.0]


def test_a_failing_step_leaves_the_rate_as_it_was():
    """After an error, the learning rate is restored; a tensor is restored as the same object."""
    rate = torch.tensor(0.5)
    adam = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=rate)
    seen = []

    def fail():
        seen.append(float(adam.param_groups[0]["lr"]))
        raise ArithmeticError

    with pytest.raises(ArithmeticError), scaled_learning_rate(adam, 2.0):
        fail()
    assert seen == [1.0]
    assert adam.param_groups[0]["lr"] is rate
    assert rate == 0.5
