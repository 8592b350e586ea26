"""`KeptState` puts back what no `state_dict` contains."""

import random
from collections import deque

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from lightning_clip.callbacks.finder._kept_state import KeptState


class Stream(IterableDataset):
    """Goes on where it was left, with generators of its own."""

    def __init__(self) -> None:
        self.position, self.rows = 0, torch.arange(5.0)
        self.python, self.numpy, self.old = random.Random(1), np.random.default_rng(1), np.random.RandomState(1)
        self.torch = torch.Generator().manual_seed(1)

    def __iter__(self):
        while self.position < 5:
            self.position += 1
            drawn = self.python.random() + self.numpy.random() + self.old.rand()
            yield self.rows[self.position - 1] + drawn + torch.rand((), generator=self.torch)


def test_a_stream_goes_on_where_it_was():
    """Its position and its generators are put back, behind a loader and a list."""
    loader = DataLoader(Stream(), batch_size=None)
    kept = KeptState([loader])
    first = list(loader)
    assert list(loader) == []
    kept.restore()
    assert list(loader) == first


def test_attributes_of_modules_are_put_back():
    """Numbers, tensors and collections; new ones go, removed ones return, and parameters are not touched."""
    module = nn.Sequential(nn.RNN(1, 1))
    (inner,) = module
    inner.count, inner.seen, inner.last, inner.hidden, inner.gone = 3, [1, 2], deque([1], maxlen=2), torch.ones(1), {}
    seen, flat = inner.seen, inner._flat_weights
    kept = KeptState(module)
    inner.count, inner.new, inner.hidden, inner.training = 5, 1, None, False
    inner.seen.append(4)
    inner.last.append(7)
    del inner.gone
    kept.restore()
    assert (inner.count, inner.seen, list(inner.last), inner.gone, inner.training) == (3, [1, 2], [1], {}, True)
    assert inner.seen is seen
    assert inner._flat_weights is flat
    assert inner.hidden.tolist() == [1.0]
    assert not hasattr(inner, "new")
