"""`run_padded`: runs a recurrent layer over padded rows of different lengths."""

from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from lightning_clip.modules.layers.fused_layer import run_fused
from lightning_clip.modules.tbptt.hiddens import Hiddens, map_hiddens, take_rows


def run_padded(layer: nn.RNNBase, inputs: Tensor, hiddens: Hiddens, lengths: Tensor) -> tuple[Tensor, Hiddens]:
    """Run a layer over rows that are padded on the right, and keep each row's state after its last real step.

    Otherwise, the layer would read padding as data, and the state of a row would depend on its padding. Rows of length
    0 keep their state.

    Args:
        layer: `nn.RNN`, `nn.LSTM` or `nn.GRU` with `batch_first=True`.
        inputs: `(batch, steps, features)`.
        hiddens: State before the first step; `None` for zeros.
        lengths: `(batch,)`, number of real steps of each row, from 0 to `steps`. Keep it on the CPU: reading it from
            another device waits for that device.

    Returns:
        Outputs `(batch, steps, features)`, zero at padding, and the state after the last real step of each row.

    References:
        PyTorch, `torch.nn.utils.rnn.pack_padded_sequence`, which does not accept rows of length 0.
    """
    lengths = lengths.cpu()
    if hiddens is None:
        hiddens = _zero_state(layer, inputs)
    rows = lengths.nonzero().squeeze(1)
    if len(rows) == 0:
        width = (layer.proj_size or layer.hidden_size) * (2 if layer.bidirectional else 1)
        return inputs.new_zeros(*inputs.shape[:2], width), hiddens
    if bool((lengths == inputs.shape[1]).all()):
        return run_fused(layer, inputs, hiddens)
    on_device = rows.to(inputs.device)
    packed = pack_padded_sequence(inputs[on_device], lengths[rows], batch_first=True, enforce_sorted=False)
    packed_outputs, last = run_fused(layer, packed, take_rows(hiddens, rows, 1))
    part, _ = pad_packed_sequence(packed_outputs, batch_first=True, total_length=inputs.shape[1])
    outputs = part.new_zeros(len(inputs), *part.shape[1:]).index_copy(0, on_device, part)
    return outputs, map_hiddens(lambda old, new: old.to(new.dtype).index_copy(1, on_device, new), hiddens, last)


def _zero_state(layer: nn.RNNBase, inputs: Tensor) -> Hiddens:
    directions = 2 if layer.bidirectional else 1

    def zeros(size: int) -> Tensor:
        return inputs.new_zeros(layer.num_layers * directions, len(inputs), size)

    hidden = zeros(layer.proj_size or layer.hidden_size)
    return (hidden, zeros(layer.hidden_size)) if isinstance(layer, nn.LSTM) else hidden
