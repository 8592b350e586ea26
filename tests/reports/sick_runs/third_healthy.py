"""Three more runs that train well, written before the rules were changed for the third time."""

import torch
from torch import Tensor, nn

from lightning_clip import RunRecord
from tests.reports.sick_runs.kit import Trained, fitted, linear_task, rows_of


def frozen_backbone() -> RunRecord:
    """The first layers are frozen on purpose, and only the head learns."""
    inputs, targets = linear_task(320, 8, seed=34)
    backbone = nn.Sequential(nn.Linear(8, 64), nn.Tanh()).requires_grad_(False)
    net = nn.Sequential(backbone, nn.Linear(64, 1))
    module = Trained(net, nn.functional.mse_loss, lambda params: torch.optim.Adam(params, lr=1e-2))
    return fitted(module, rows_of(inputs, targets, shuffle=True), epochs=8)


def constant_target() -> RunRecord:
    """Every target is 3: the loss reaches 0 within an epoch, and the gradient dies away."""
    inputs = torch.randn(320, 8)
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
    module = Trained(net, nn.functional.mse_loss, lambda params: torch.optim.Adam(params, lr=1e-2))
    return fitted(module, rows_of(inputs, torch.full((320, 1), 3.0), shuffle=True), epochs=20)


class Encoder(nn.Module):
    """Words, one layer of attention and the mean over time."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(20, 16)
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True, norm_first=True)
        self.head = nn.Linear(16, 2)

    def forward(self, words: Tensor) -> Tensor:
        return self.head(self.layer(self.words(words)).mean(1))


def encoder_without_warm_up() -> RunRecord:
    """Attention that tells whether a word occurs, from a full rate on."""
    words = torch.randint(0, 20, (480, 12))
    labels = (words == 7).any(1).long()
    module = Trained(Encoder(), nn.functional.cross_entropy, lambda params: torch.optim.Adam(params, lr=3e-3))
    return fitted(module, rows_of(words, labels, shuffle=True), epochs=10)


HEALTHY = [frozen_backbone, constant_target, encoder_without_warm_up]
