"""`StatefulMixin`: the state carries over from chunk to chunk, and nowhere else."""

import copy
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, DistributedSampler

from lightning_clip import Chunk, GradientClipping, NormClip
from lightning_clip.datamodules import RandomTruncation
from lightning_clip.modules.tbptt.hiddens import map_hiddens
from lightning_clip.modules.tbptt.stateful_mixin import run_in_segments
from tests.support.kernels import skip_without_kernel
from tests.support.streaming import SaveAt, Streaming, fit, series, streams_of
from tests.support.training import assert_same_weights

cells = pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])


def chunks_of(**options):
    return list(streams_of(**options).train_dataloader())


def whole(chunks, name="inputs"):
    return torch.cat([getattr(chunk, name) for chunk in chunks], dim=1)


def leaves(hiddens):
    found = []
    map_hiddens(lambda state: (found.append(state), state)[1], hiddens)
    return found


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


class _Dtypes(Callback):
    def __init__(self):
        self.kept, self.used = [], []

    def on_train_batch_end(self, trainer, pl_module, *args):
        self.kept += [leaf.dtype for leaf in leaves(pl_module._carried[True]._after.hiddens)]


@pytest.mark.parametrize(
    ("precision", "kept"),
    [
        ("32-true", torch.float32),
        ("bf16-mixed", torch.float32),
        ("bf16-true", torch.bfloat16),
        ("64-true", torch.float64),
    ],
)
@cells
def test_the_state_keeps_the_precision_of_the_parameters(cell, precision, kept):
    """The state has the dtype of the parameters in every chunk, also under autocast."""
    skip_without_kernel(cell, precision)
    dtypes, model = _Dtypes(), Streaming(cell)
    fit(model, streams_of(), callbacks=[dtypes], precision=precision)
    assert len(dtypes.kept) >= 7
    assert set(dtypes.kept) == {kept}
    assert torch.stack(model.losses).isfinite().all()


def test_the_state_goes_on_when_the_scaler_skips_a_step():
    """If scaled gradients overflow, the weights stay unchanged and the state carries on."""
    plugin = MixedPrecision("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu", init_scale=2.0**60))
    model = Streaming("rnn")
    before = copy.deepcopy(model)
    fit(model, streams_of(), plugins=[plugin], limit_train_batches=3)
    assert_same_weights(model, before)
    assert model._carried[True]._after.position == 24
    assert all(leaf.any() for leaf in leaves(model._carried[True]._after.hiddens))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@cells
def test_the_state_follows_the_device(cell):
    """A state computed on the CPU is used on the GPU."""
    model, chunks = Streaming(cell), chunks_of()
    expected = model.rnn(whole(chunks[:2]))[0][:, 8:].detach()
    model.outputs_of(chunks[:1])
    model.cuda()
    on_gpu = chunks[1]._replace(inputs=chunks[1].inputs.cuda(), resets=chunks[1].resets.cuda())
    torch.testing.assert_close(model.outputs_of([on_gpu]).cpu(), expected, rtol=1e-4, atol=1e-4)


def test_the_state_is_no_buffer():
    """The state is neither a buffer, which DDP would overwrite, nor part of the state dict."""
    model = Streaming()
    names = set(model.state_dict())
    model.outputs_of(chunks_of()[:2])
    assert not list(model.buffers())
    assert set(model.state_dict()) == names
    assert not any(torch.is_tensor(value) for value in vars(model).values())


# Checkpoints


@cells
@pytest.mark.parametrize("step", [1, 3, 9, 13])
@pytest.mark.parametrize("limit", [{"max_epochs": 3}, {"max_steps": 21, "max_epochs": -1}])
def test_resuming_inside_an_epoch_equals_not_stopping(tmp_path, cell, step, limit):
    """Resuming within any epoch gives the same chunks, losses and weights, bit for bit."""
    path, full, resumed = tmp_path / "mid.ckpt", Streaming(cell), Streaming(cell)
    fit(full, streams_of(), callbacks=[SaveAt(step, path)], **limit)
    fit(resumed, streams_of(), ckpt_path=path, **limit)
    assert full.starts[step:] == resumed.starts
    assert torch.equal(torch.stack(full.losses[step:]), torch.stack(resumed.losses))
    assert_same_weights(full, resumed)


@pytest.mark.parametrize("missing", ["state", "position"])
def test_without_state_or_position_a_resumed_run_is_another_one(tmp_path, missing):
    """Without the state or the position, a resumed run differs, so the test above can fail."""
    path, full, resumed = tmp_path / "mid.ckpt", Streaming(), Streaming()
    fit(full, streams_of(), callbacks=[SaveAt(3, path)])
    checkpoint = torch.load(path, weights_only=True)
    if missing == "state":
        checkpoint["carried_hiddens"] = None
    else:
        del checkpoint["loops"]["fit_loop"]["state_dict"]["combined_loader"]
    torch.save(checkpoint, path)
    if missing == "state":
        with pytest.warns(UserWarning, match=r"resumes at step 24 .* state of no step\. .* fresh state"):
            fit(resumed, streams_of(), ckpt_path=path)
    else:
        fit(resumed, streams_of(), ckpt_path=path)
        assert resumed.starts[0] == 0
    assert not torch.equal(torch.stack(full.losses[-3:]), torch.stack(resumed.losses[-3:]))


@pytest.mark.parametrize(
    ("hook", "limit"),
    [
        ("on_train_epoch_end", {"max_epochs": 2}),
        ("on_train_batch_end", {"max_epochs": 2}),
        ("on_train_batch_end", {"max_steps": 14, "max_epochs": -1}),
    ],
)
def test_resuming_at_the_end_of_an_epoch_begins_the_next(tmp_path, hook, limit):
    """Resuming at the end of an epoch starts the streams over with a fresh state."""
    full, resumed = Streaming(), Streaming()
    path = tmp_path / "end.ckpt"
    fit(full, streams_of(), callbacks=[SaveAt(7, path, hook)], **limit)
    fit(resumed, streams_of(), ckpt_path=path, **limit)
    assert resumed.starts[0] == 0
    assert torch.equal(torch.stack(full.losses[7:]), torch.stack(resumed.losses))


def test_a_checkpoint_made_while_validating_holds_the_state_of_training(tmp_path):
    """Training resumes bit for bit from a checkpoint that was saved during validation."""
    data, often = {"steps": 400, "val_fraction": 0.25}, {"limit_val_batches": 1.0, "val_check_interval": 3}
    full, resumed = Streaming(), Streaming()
    path = tmp_path / "validating.ckpt"
    fit(full, streams_of(**data), callbacks=[SaveAt(3, path, "on_validation_end")], **often)
    fit(resumed, streams_of(**data), ckpt_path=path, **often)
    assert torch.equal(torch.stack(full.losses[3:]), torch.stack(resumed.losses))


def test_a_new_fit_forgets_the_state_of_a_loaded_module(tmp_path):
    """`load_from_checkpoint` restores the weights, and a new fit starts with a fresh state."""
    path, full = tmp_path / "mid.ckpt", Streaming(lr=0.0)
    fit(full, streams_of(), callbacks=[SaveAt(3, path)])
    loaded = Streaming.load_from_checkpoint(path, lr=0.0)
    fit(loaded, streams_of())
    assert torch.equal(torch.stack(full.losses), torch.stack(loaded.losses))


# Trainer features


def test_accumulation_sums_over_chunks():
    """Accumulating two chunks averages their gradients, computed with the same weights."""
    model, plain = Streaming(), Streaming()
    fit(model, streams_of(), accumulate_grad_batches=2, limit_train_batches=4)
    optimizer, hiddens = plain.configure_optimizers(), None
    for number, chunk in enumerate(chunks_of()[:4]):
        outputs, hiddens = plain.rnn(chunk.inputs, hiddens)
        hiddens = map_hiddens(torch.Tensor.detach, hiddens)
        (F.mse_loss(plain.head(outputs), chunk.targets) / 2).backward()
        if number % 2:
            optimizer.step()
            optimizer.zero_grad()
    assert_same_weights(model, plain)


def test_clipping_acts_once_a_chunk():
    """`GradientClipping` equals the Trainer's clipping and records every optimizer step."""
    ours, theirs = Streaming(), Streaming()
    callback = GradientClipping(NormClip(0.05))
    trainer = fit(ours, streams_of(), callbacks=[callback])
    fit(theirs, streams_of(), gradient_clip_val=0.05)
    assert_same_weights(ours, theirs)
    assert len(callback.history) == trainer.global_step == len(ours.losses)
    assert callback.history.aggregates[0].clipped > 0


def test_step_schedulers_move_once_a_chunk():
    """Step schedulers and `max_steps` count chunks."""
    model = Streaming()

    def configure():
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    model.configure_optimizers = configure
    trainer = fit(model, streams_of(), max_epochs=-1, max_steps=5)
    assert trainer.optimizers[0].param_groups[0]["lr"] == 0.5**5


def test_dropout_is_drawn_for_each_chunk():
    """Dropout masks differ from chunk to chunk."""
    model = Streaming()
    model.rnn = torch.nn.LSTM(2, 5, num_layers=2, dropout=0.5, batch_first=True)
    chunk = Chunk(torch.ones(1, 3, 2), torch.zeros(1, 3, 2))
    zeros = SimpleNamespace(**chunk._asdict())
    outputs = []
    for _ in range(2):
        model._carried[True].forget()
        outputs.append(model.run_chunk(model.rnn, chunk.inputs, zeros))
    assert not torch.equal(*outputs)


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


LAYERS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


@pytest.mark.parametrize("cell", LAYERS)
@pytest.mark.parametrize("at", [[], [3], [0, 1, 9]])
def test_segments_are_the_whole(cell, at):
    """Changes that return the state unchanged give the outputs and state of the whole sequence."""
    layer, inputs = LAYERS[cell](2, 4, num_layers=2, batch_first=True), torch.randn(3, 10, 2)
    outputs, last = run_in_segments(layer, inputs, None, dict.fromkeys(at, lambda hiddens: hiddens))
    expected, expected_last = layer(inputs)
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(last, expected_last)


def test_without_changes_the_cell_runs_once():
    """Without changes, the cell runs once and its outputs are returned as they are."""
    calls = []

    def cell(inputs, hiddens):
        calls.append(inputs.shape[1])
        return inputs, hiddens

    inputs = torch.randn(1, 5, 2)
    assert run_in_segments(cell, inputs, None, {})[0].data_ptr() == inputs.data_ptr()
    assert calls == [5]


def test_each_change_is_made_before_its_step():
    """Each change applies before its step, including the first; changes beyond the end are ignored."""

    def add_up(inputs, hiddens):
        sums = inputs.cumsum(1) + hiddens
        return sums, sums[:, -1:]

    changes = {0: lambda h: h + 100, 2: torch.zeros_like, 3: lambda h: -h, 5: torch.zeros_like}
    outputs, last = run_in_segments(add_up, torch.ones(1, 5, 1), torch.zeros(1, 1, 1), changes)
    assert outputs.flatten().tolist() == [101, 102, 1, 0, 1]
    assert last.item() == 1
