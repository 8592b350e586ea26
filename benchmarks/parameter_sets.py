"""The sets of parameters that the benchmarks use, with gradients."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

WORDS, WIDTH = 10_000, 650


class WordLSTM(nn.Module):
    """An embedding of 10,000 words, two LSTM layers of width 650 and an output layer: 19.8 million parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, WIDTH)
        self.lstm = nn.LSTM(WIDTH, WIDTH, 2)
        self.head = nn.Linear(WIDTH, WORDS)

    def forward(self, words: Tensor) -> Tensor:
        return self.head(self.lstm(self.embedding(words))[0])


def mlp() -> nn.Module:
    """Return an MLP with four small tensors."""
    return nn.Sequential(nn.Linear(20, 25), nn.ReLU(), nn.Linear(25, 1))


def many(count: int = 300) -> nn.Module:
    """Return `count` tensors of 64 × 64."""
    return nn.ParameterList([nn.Parameter(torch.randn(64, 64)) for _ in range(count)])


PARAMETER_SETS: dict[str, Callable[[], nn.Module]] = {"mlp": mlp, "lstm": WordLSTM, "many": many}


def with_gradients(module: nn.Module) -> nn.Module:
    """Give every parameter of a module a random gradient and return the module."""
    for param in module.parameters():
        param.grad = torch.randn_like(param)
    return module
