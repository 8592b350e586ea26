"""The parameters that are measured on, with gradients."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

WORDS, WIDTH = 10_000, 650


class WordLSTM(nn.Module):
    """Two LSTM layers 650 wide between an embedding of 10,000 words and their scores: 19.8 million parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, WIDTH)
        self.lstm = nn.LSTM(WIDTH, WIDTH, 2)
        self.head = nn.Linear(WIDTH, WORDS)

    def forward(self, words: Tensor) -> Tensor:
        return self.head(self.lstm(self.embedding(words))[0])


def mlp() -> nn.Module:
    """Four small tensors."""
    return nn.Sequential(nn.Linear(20, 25), nn.ReLU(), nn.Linear(25, 1))


def many(count: int = 300) -> nn.Module:
    """Tensors of 64 × 64."""
    return nn.ParameterList([nn.Parameter(torch.randn(64, 64)) for _ in range(count)])


PARAMETER_SETS: dict[str, Callable[[], nn.Module]] = {"mlp": mlp, "lstm": WordLSTM, "many": many}


def with_gradients(module: nn.Module) -> nn.Module:
    """The module, with random gradients."""
    for param in module.parameters():
        param.grad = torch.randn_like(param)
    return module
