"""`StatefulMixin`: precision and device of the carried state."""

import copy

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins.precision import MixedPrecision

from tests.support.kernels import skip_without_kernel
from tests.support.streaming import Streaming, chunks_of, fit, leaves, streams_of, whole
from tests.support.training import assert_same_weights

cells = pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])


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
