"""Small modules and a quiet trainer."""

from typing import Any

import lightning.pytorch as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def loader(rows: int = 24, batch_size: int = 4) -> DataLoader:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(rows, 4, generator=generator)
    y = 10 * torch.randn(rows, 1, generator=generator)
    return DataLoader(TensorDataset(x, y), batch_size=batch_size)


class Net(pl.LightningModule):
    """Two linear layers; `kind` names the optimizer."""

    def __init__(self, kind: str = "sgd", **options: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1))
        self.kind, self.options = kind, options

    def training_step(self, batch, batch_idx):
        x, y = batch
        return nn.functional.mse_loss(self.net(x), y)

    def configure_optimizers(self):
        classes = {
            "sgd": torch.optim.SGD,
            "adam": torch.optim.Adam,
            "adamw": torch.optim.AdamW,
            "lbfgs": torch.optim.LBFGS,
            "rmsprop": torch.optim.RMSprop,
        }
        defaults = {"sgd": {"momentum": 0.9}, "lbfgs": {"lr": 0.001, "max_iter": 5}}
        options = {"lr": 0.05, **defaults.get(self.kind, {}), **self.options}
        return classes[self.kind](self.parameters(), **options)


class ManualNet(Net):
    """The same network in manual optimization."""

    def __init__(self, kind: str = "sgd", **options: Any) -> None:
        super().__init__(kind, **options)
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        optimizer = self.optimizers()
        optimizer.zero_grad()
        loss = super().training_step(batch, batch_idx)
        self.manual_backward(loss)
        optimizer.step()
        return loss


class TwoOptimizers(pl.LightningModule):
    """A generator and a discriminator in manual optimization; each step leaves stale gradients in the other one."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.automatic_optimization = False
        self.generator = nn.Linear(4, 4)
        self.discriminator = nn.Linear(4, 1)

    def training_step(self, batch, batch_idx):
        x, _ = batch
        first, second = self.optimizers()
        for optimizer, sign in ((first, 1.0), (second, -30.0)):
            loss = sign * self.discriminator(self.generator(x)).mean()
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()

    def configure_optimizers(self):
        return torch.optim.SGD(self.generator.parameters(), lr=0.1), torch.optim.SGD(
            self.discriminator.parameters(), lr=0.1
        )


def quiet_trainer(**options: Any) -> pl.Trainer:
    defaults: dict[str, Any] = {
        "accelerator": "cpu",
        "devices": 1,
        "max_epochs": 2,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return pl.Trainer(**{**defaults, **options})


def weights_of(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def assert_same_weights(a: nn.Module | dict, b: nn.Module | dict) -> None:
    first = a if isinstance(a, dict) else weights_of(a)
    second = b if isinstance(b, dict) else weights_of(b)
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
