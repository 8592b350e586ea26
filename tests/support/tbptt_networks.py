"""`TBPTTModule` on small streams, and the same training by hand."""

from functools import partial

import torch
from torch.nn import functional as F

from lightning_clip import ChunkedSequenceDataModule, TBPTTModule
from lightning_clip.modules.tbptt.hiddens import map_hiddens

sgd = partial(torch.optim.SGD, lr=0.1)

WHOLE = {"val_fraction": 0, "test_fraction": 0}


def network(cell="lstm", **options):
    torch.manual_seed(0)
    defaults = {"task": "regression", "hidden_size": 5, "optimizer": sgd}
    return TBPTTModule(2, 2, cell=cell, **{**defaults, **options})


def symbols(n=300, **options):
    tokens = torch.randint(6, (n,), generator=torch.Generator().manual_seed(0))
    defaults = {"truncated_bptt_steps": 8, "batch_size": 4, **WHOLE}
    return ChunkedSequenceDataModule(tokens, **{**defaults, **options})


def reader(cell="lstm", **options):
    torch.manual_seed(0)
    return TBPTTModule(6, 6, cell=cell, **{"hidden_size": 5, "embedding_dim": 3, "optimizer": sgd, **options})


def losses_of(model, chunk, hiddens):
    """The loss at each target, and the state after the chunk."""
    outputs, hiddens = model.advance(chunk.inputs, hiddens)
    if model.task == "regression":
        return (outputs - chunk.targets).square().mean(-1), hiddens
    flat = F.cross_entropy(outputs.flatten(0, 1), chunk.targets.flatten(), reduction="none")
    return flat.reshape(chunk.targets.shape), hiddens


def by_hand(model, data, *, epochs=1):
    """SGD on the sum over targets divided by streams times nominal steps."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = data.train_dataloader()
    for epoch in range(epochs):
        loader.sampler.set_epoch(epoch)
        hiddens = None
        for chunk in loader:
            losses, hiddens = losses_of(model, chunk, hiddens)
            hiddens = map_hiddens(torch.Tensor.detach, hiddens)
            optimizer.zero_grad()
            ((losses * chunk.mask).sum() / (len(losses) * chunk.nominal_steps)).backward()
            optimizer.step()
