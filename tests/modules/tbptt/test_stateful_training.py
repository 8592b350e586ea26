"""`StatefulMixin`: accumulation, clipping, schedulers and dropout act once a chunk."""

from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from lightning_clip import Chunk, GradientClipping, NormClip
from lightning_clip.modules.tbptt.hiddens import map_hiddens
from tests.support.streaming import Streaming, chunks_of, fit, streams_of
from tests.support.training import assert_same_weights

cells = pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])


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
