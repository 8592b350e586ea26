"""`StatefulMixin`: the state carries over from chunk to chunk, and nowhere else."""

from itertools import pairwise

import pytest
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from torch.nn import functional as F
from torch.utils.data import DataLoader, DistributedSampler

from lightning_clip import Chunk
from lightning_clip.datamodules import RandomTruncation
from lightning_clip.modules.tbptt.hiddens import map_hiddens
from tests.support.streaming import Streaming, chunks_of, fit, leaves, series, streams_of, whole
from tests.support.training import assert_same_weights

cells = pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])


# Carrying and detaching


@cells
@pytest.mark.parametrize("k", [1, 7, 8, 64])
def test_chunks_give_the_outputs_of_the_whole_sequence(cell, k):
    """With frozen weights, chunks of any length give the outputs of the whole sequence."""
    model, chunks = Streaming(cell), chunks_of(truncated_bptt_steps=k)
    expected = model.rnn(whole(chunks))[0]
    torch.testing.assert_close(model.outputs_of(chunks), expected.detach(), rtol=1e-6, atol=1e-6)


def test_the_carried_state_has_no_graph():
    """Every tensor of the carried state is detached, in any nesting."""
    model, chunks = Streaming("lstm"), chunks_of()
    seen = []

    def cell(inputs, hiddens):
        seen.append(hiddens)
        outputs, last = model.rnn(inputs, None if hiddens is None else (hiddens["h"][0], hiddens["c"][0]))
        return outputs, {"h": [last[0]], "c": (last[1],)}

    for chunk in chunks[:3]:
        assert model.run_chunk(cell, chunk.inputs, chunk).grad_fn is not None
    assert seen[0] is None
    assert [leaf.grad_fn for state in seen[1:] for leaf in leaves(state)] == [None] * 4


@cells
def test_a_chunk_as_long_as_the_stream_is_full_backpropagation(cell):
    """A chunk as long as the stream, or longer, trains as without the mixin, bit for bit."""
    after = []
    for k in (50, 500):
        model = Streaming(cell)
        fit(model, streams_of(201, truncated_bptt_steps=k))
        assert model.starts == [0]
        after.append(model)
    plain, (chunk,) = Streaming(cell), chunks_of(steps=201, truncated_bptt_steps=50)
    optimizer = plain.configure_optimizers()
    F.mse_loss(plain.head(plain.rnn(chunk.inputs)[0]), chunk.targets).backward()
    optimizer.step()
    assert_same_weights(after[0], plain)
    assert_same_weights(after[1], plain)


@cells
def test_gradients_stop_at_the_start_of_a_chunk(cell):
    """Training on chunks equals a handwritten loop that detaches the state."""
    model, plain = Streaming(cell), Streaming(cell)
    fit(model, streams_of(), max_epochs=2)
    optimizer = plain.configure_optimizers()
    for _ in range(2):
        hiddens = None
        for chunk in chunks_of():
            outputs, hiddens = plain.rnn(chunk.inputs, hiddens)
            hiddens = map_hiddens(torch.Tensor.detach, hiddens)
            optimizer.zero_grad()
            F.mse_loss(plain.head(outputs), chunk.targets).backward()
            optimizer.step()
    assert_same_weights(model, plain)


def test_a_chunk_that_is_evaluated_twice_starts_from_the_same_state():
    """A chunk that is evaluated again, as by LBFGS, starts from the same state."""
    model, chunks = Streaming(), chunks_of()
    model.outputs_of(chunks[:2])
    first, second = model.outputs_of(chunks[2:3]), model.outputs_of(chunks[2:3])
    assert torch.equal(first, second)
    torch.testing.assert_close(model.outputs_of(chunks[3:4]), model.rnn(whole(chunks[:4]))[0][:, 24:].detach())


def test_lbfgs_trains():
    """LBFGS trains, although its closure runs each chunk several times."""
    model = Streaming()
    model.configure_optimizers = lambda: torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=4)
    fit(model, streams_of(), max_epochs=3)
    assert len(model.losses) > len(set(model.starts)) * 3
    assert torch.stack(model.losses[-10:]).mean() < torch.stack(model.losses[:10]).mean()


# Streams


def test_streams_are_known_by_their_numbers():
    """A batch with some of the streams, in a different order, continues their states."""
    model, chunks = Streaming(), chunks_of()
    model.outputs_of(chunks[:1])
    rows = [3, 1]
    third = chunks[1]
    some = third._replace(inputs=third.inputs[rows], streams=(3, 1), resets=third.resets[rows])
    expected = model.rnn(whole(chunks[:2]))[0][rows, 8:].detach()
    torch.testing.assert_close(model.outputs_of([some]), expected)


def test_an_unknown_stream_is_refused():
    """An unknown stream raises an error with its index and what to do."""
    model, chunks = Streaming(), chunks_of()
    model.outputs_of(chunks[:1])
    with pytest.raises(RuntimeError, match=r"no state for streams \[9\], only for \[0, 1, 2, 3\].*do not shuffle"):
        model.outputs_of([chunks[1]._replace(streams=(0, 1, 2, 9))])


def test_a_chunk_that_is_left_out_is_refused():
    """A skipped chunk raises an error with both steps and what to do."""
    model, chunks = Streaming(), chunks_of()
    model.outputs_of(chunks[:1])
    with pytest.raises(
        RuntimeError, match=r"starts at step 16 .* that of step 8\. Read chunks in order: do not shuffle"
    ):
        model.outputs_of(chunks[2:3])


@pytest.mark.parametrize("options", [{"shuffle": True}, {"sampler": "distributed"}])
def test_loaders_that_mix_chunks_are_refused(options):
    """Loaders that shuffle, or distribute samples over processes as Lightning does by default, raise an error."""
    data = [Chunk(torch.zeros(2, 3, 2), torch.zeros(2, 3, 2))] * 4
    if "sampler" in options:
        options = {"sampler": DistributedSampler(data, num_replicas=1, rank=0, shuffle=False)}
    loader = DataLoader(data, batch_size=None, collate_fn=lambda chunk: chunk, **options)
    with pytest.raises(MisconfigurationException, match=r"Sampler\. Chunks .* use DataLoader\(shuffle=False\)"):
        fit(Streaming(), loader)


def test_batches_that_say_nothing_go_on_row_by_row():
    """Batches without stream indices continue row by row; a last batch with fewer rows continues the first rows."""
    model, chunks = Streaming(), chunks_of()
    silent = [Chunk(chunk.inputs, chunk.targets) for chunk in chunks]
    silent[-1] = Chunk(chunks[-1].inputs[:3], chunks[-1].targets[:3])
    outputs = [model.outputs_of([chunk]) for chunk in silent]
    expected = model.rnn(whole(chunks))[0].detach()
    torch.testing.assert_close(torch.cat(outputs[:-1], dim=1), expected[:, :48])
    torch.testing.assert_close(outputs[-1], expected[:3, 48:])


def test_batches_that_say_nothing_start_afresh_in_each_epoch():
    """With learning rate 0, the second epoch repeats the losses of the first."""
    model = Streaming(lr=0.0)
    silent = [Chunk(chunk.inputs, chunk.targets) for chunk in chunks_of()]
    fit(model, DataLoader(silent, batch_size=None, collate_fn=lambda chunk: chunk), max_epochs=2)
    half = len(model.losses) // 2
    assert model.losses[:half] == model.losses[half:]
    assert len(set(model.losses[:half])) == half


# Resets


def test_each_epoch_begins_afresh():
    """With learning rate 0, the second epoch repeats the losses of the first."""
    model = Streaming(lr=0.0)
    fit(model, streams_of(), max_epochs=2)
    half = len(model.losses) // 2
    assert model.losses[:half] == model.losses[half:]


@cells
@pytest.mark.parametrize("initial", [None, 0.5])
def test_documents_begin_afresh(cell, initial):
    """Resets at any step of any row give the outputs of each document alone."""
    starts = [13, 60, 61, 104, 150]
    model, chunks = Streaming(cell), chunks_of(document_starts=starts)
    if initial is not None:
        state = model.rnn(chunks[0].inputs[:1, :1])[1]
        fresh = map_hiddens(lambda h: torch.full_like(h, initial).detach(), state)
        model.initial_hiddens = lambda inputs: map_hiddens(lambda h: h.expand(-1, len(inputs), -1).contiguous(), fresh)
    outputs = model.outputs_of(chunks)
    walk, edges = series(200), [0, 49, 99, 149, 199]
    for row, (begin, end) in enumerate(pairwise(edges)):
        for first, last in pairwise([begin, *(start for start in starts if begin < start < end), end]):
            alone = model.rnn(walk[None, first:last], model.initial_hiddens(walk[None]))[0]
            torch.testing.assert_close(outputs[row, first - begin : last - begin], alone[0].detach())


def test_no_gradient_flows_over_the_start_of_a_document():
    """Within a chunk, the loss of the second document does not depend on the first."""
    model, chunk = Streaming(), chunks_of(document_starts=[5], batch_size=1)[0]
    inputs = chunk.inputs.clone().requires_grad_()
    outputs = model.run_chunk(model.rnn, inputs, chunk)
    grads = torch.autograd.grad(outputs[:, 5:].sum(), inputs)[0]
    assert not grads[:, :5].any()
    assert grads[:, 5:].all()


def test_a_learnt_initial_state_gets_a_gradient():
    """A learned initial state gets gradients from the first chunk and from starts of documents only."""
    model, chunks = Streaming("gru", depth=1), chunks_of(document_starts=[27])
    start = torch.zeros(1, 1, 5, requires_grad=True)
    model.initial_hiddens = lambda inputs: start.expand(1, len(inputs), 5)
    flows = []
    for chunk in chunks[:5]:
        outputs = model.run_chunk(model.rnn, chunk.inputs, chunk)
        grads = torch.autograd.grad(outputs.sum(), start, allow_unused=True)
        flows.append(grads[0] is not None and bool(grads[0].any()))
    assert flows == [True, False, False, True, False]


# Evaluation


def test_validation_does_not_disturb_training():
    """Validation twice per epoch, and a sanity check before training, do not change the training losses."""
    alone, watched = Streaming(), Streaming()
    data = streams_of(400, val_fraction=0.25)
    fit(alone, data, max_epochs=2)
    fit(watched, data, max_epochs=2, limit_val_batches=1.0, val_check_interval=4, num_sanity_val_steps=2)
    assert torch.equal(torch.stack(alone.losses), torch.stack(watched.losses))


@pytest.mark.parametrize("rows", [2, 4])
def test_evaluation_has_a_state_of_its_own(rows):
    """Evaluation starts fresh with any batch size and leaves the training state unchanged."""
    model, chunks = Streaming(), chunks_of()
    others = chunks_of(batch_size=rows, truncated_bptt_steps=16)
    model.train()
    first = model.outputs_of(chunks[:2])
    model.eval()
    evaluated = [model.outputs_of(others) for _ in range(2)]
    model.train()
    rest = model.outputs_of(chunks[2:])
    expected = model.rnn(whole(chunks))[0].detach()
    torch.testing.assert_close(torch.cat([first, rest], dim=1), expected)
    assert torch.equal(*evaluated)
    torch.testing.assert_close(evaluated[0], model.rnn(whole(others))[0].detach())


def test_the_trainer_says_what_is_training():
    """A module that validates in training mode, for its dropout, does not lose its training state."""
    alone, watched = Streaming(), Streaming()
    watched.on_validation_model_eval = lambda: None
    data = streams_of(400, val_fraction=0.25)
    fit(alone, data)
    fit(watched, data, limit_val_batches=1.0, val_check_interval=3)
    assert torch.equal(torch.stack(alone.losses), torch.stack(watched.losses))


# Precision and devices


# Checkpoints


# Trainer features


def test_messages_are_made_up_for_random_cuts():
    """The mean gradient over all random cuts equals the one without truncation exactly."""
    c, units, k = 0.3, 4, 3
    law = RandomTruncation(c)
    model = Streaming("gru", depth=1).double()
    walk = series(units * k + 1).double()[None]
    inputs, targets = walk[:, :-1], walk[:, 1:]
    full = torch.autograd.grad((model.head(model.rnn(inputs)[0]) - targets).square().sum(), model.rnn.weight_hh_l0)[0]
    mean, plain_mean = torch.zeros_like(full), torch.zeros_like(full)
    for cuts in range(2 ** (units - 1)):
        at = [0, *(k * (unit + 1) for unit in range(units - 1) if cuts >> unit & 1), units * k]
        probability = c ** (len(at) - 2) * (1 - c) ** (units - len(at) + 1)
        for scale, into in ((law.message_scale, mean), (1.0, plain_mean)):
            for start, stop in pairwise(at):
                chunk = Chunk(
                    inputs[:, start:stop], targets[:, start:stop], start=start, nominal_steps=k, message_scale=scale
                )
                error = model.head(model.run_chunk(model.rnn, chunk.inputs, chunk)) - chunk.targets
                into += probability * torch.autograd.grad(error.square().sum(), model.rnn.weight_hh_l0)[0]
    torch.testing.assert_close(mean, full, rtol=1e-10, atol=1e-12)
    assert (plain_mean - full).norm() > 0.01 * full.norm()
