"""Tests in the style of Lightning's own: what a step does."""

from unittest import mock
from unittest.mock import ANY, Mock, call, patch

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import StochasticWeightAveraging
from lightning.pytorch.demos.boring_classes import BoringModel, ManualOptimBoringModel, RandomDataset
from lightning.pytorch.plugins import MixedPrecision
from lightning.pytorch.strategies import Strategy
from torch.utils.data import DataLoader


def quick(tmp_path, **options):
    defaults = {"default_root_dir": tmp_path, "max_epochs": 1, "limit_train_batches": 4, "limit_val_batches": 0}
    return Trainer(**{**defaults, "enable_progress_bar": False, "enable_model_summary": False, **options})


class Twice(BoringModel):
    """Two optimizers of the same parameters, and gradients that must be gone."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        for optimizer in self.optimizers():
            assert self.layer.weight.grad is None
            loss = self.step(batch[0])
            self.manual_backward(loss, retain_graph=True)
            self.manual_backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            assert self.layer.weight.grad is None

    def configure_optimizers(self):
        return [torch.optim.SGD(self.layer.parameters(), lr=0.1) for _ in range(2)]


def test_two_optimizers_and_backward_calls(tmp_path):
    trainer = quick(tmp_path)
    with mock.patch.object(Strategy, "backward", wraps=trainer.strategy.backward) as backward:
        trainer.fit(Twice())
    assert backward.call_count == 16
    assert trainer.global_step == 8


@patch("torch.optim.SGD.step")
@patch("torch.optim.Adam.step")
def test_patched_steps_with_arguments(adam, sgd, tmp_path):
    class Model(BoringModel):
        def __init__(self):
            super().__init__()
            self.automatic_optimization = False

        def training_step(self, batch, batch_idx):
            gen, dis = self.optimizers()

            def closure():
                self.manual_backward(self.step(batch[0]))

            gen.step(closure=closure, optim="sgd")
            if batch_idx % 2 == 0:
                dis.step(closure=closure)
            gen.zero_grad()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1), torch.optim.Adam(self.parameters(), lr=0.1)

    quick(tmp_path).fit(Model())
    assert sgd.call_args_list == [call(closure=ANY, optim="sgd") for _ in range(4)]
    assert adam.call_args_list == [call(closure=ANY) for _ in range(2)]


def test_closures_that_go_backward_twice(tmp_path):
    class Model(BoringModel):
        def __init__(self):
            super().__init__()
            self.automatic_optimization = False

        def training_step(self, batch, batch_idx):
            optimizer = self.optimizers()

            def closure():
                for _ in range(2):
                    self.manual_backward(self.loss(self(F.dropout(batch[0], 0.1))))

            before = self.layer.weight.clone()
            optimizer.step(closure=closure)
            optimizer.zero_grad()
            assert not torch.equal(before, self.layer.weight)

    quick(tmp_path).fit(Model())


@pytest.mark.parametrize("kind", ["none", "dict", "skipped", "detached key"])
def test_what_a_training_step_may_return(tmp_path, kind):
    class Model(BoringModel):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)["loss"]
            if kind == "none" or (kind == "skipped" and batch_idx % 2):
                return None
            return {"loss": loss, "extra": loss.detach()} if kind != "dict" else {"loss": loss}

    trainer = quick(tmp_path)
    trainer.fit(Model())
    assert trainer.global_step == 4


@pytest.mark.parametrize("val", [0.5, None])
@pytest.mark.parametrize("algorithm", ["norm", "value"])
def test_clipping_of_the_trainer(tmp_path, val, algorithm):
    class Model(BoringModel):
        def configure_gradient_clipping(self, optimizer, gradient_clip_val=None, gradient_clip_algorithm=None):
            assert (gradient_clip_val, gradient_clip_algorithm) == (val, algorithm if val else None)
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
            if val and algorithm == "value":
                assert max(p.grad.abs().max() for p in self.parameters()) <= val

    options = {"gradient_clip_val": val, "gradient_clip_algorithm": algorithm} if val else {}
    quick(tmp_path, **options).fit(Model())


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-true", "bf16-true", "64-true", "32-true"])
def test_precisions(tmp_path, precision):
    quick(tmp_path, precision=precision).fit(BoringModel())


@pytest.mark.parametrize("fused", [False, True])
def test_gradients_are_unscaled_in_the_hook(tmp_path, fused):
    class Model(BoringModel):
        def on_after_backward(self):
            self.scaled = [p.grad / scaler.get_scale() for p in self.parameters()]

        def on_before_optimizer_step(self, optimizer):
            for actual, expected in zip(self.parameters(), self.scaled, strict=True):
                if not fused:
                    torch.testing.assert_close(actual.grad, expected)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1, fused=fused)

    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    trainer = quick(tmp_path, plugins=[MixedPrecision("16-mixed", "cpu", scaler=scaler)])
    trainer.fit(Model())
    assert trainer.global_step == 4


@pytest.mark.parametrize("optimizer", ["LBFGS", "Adam", "Adagrad", "ASGD", "Rprop"])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_optimizers(tmp_path, optimizer, accumulate):
    class Model(BoringModel):
        def configure_optimizers(self):
            return getattr(torch.optim, optimizer)(self.parameters(), lr=0.01)

    trainer = quick(tmp_path, accumulate_grad_batches=accumulate)
    trainer.fit(Model())
    assert trainer.global_step == -(-4 // accumulate)


def test_the_order_of_hooks(tmp_path):
    called = []

    class Spy(Callback):
        def __getattribute__(self, name):
            if name.startswith("on_"):
                called.append(name)
            return super().__getattribute__(name)

    class Model(ManualOptimBoringModel):
        def on_before_optimizer_step(self, optimizer):
            called.append("module.on_before_optimizer_step")

    quick(tmp_path, limit_train_batches=1, callbacks=[Spy()], enable_checkpointing=False, logger=False).fit(Model())
    assert called[called.index("on_train_batch_start") :][:4] == [
        "on_train_batch_start",
        "on_before_backward",
        "on_after_backward",
        "on_before_optimizer_step",
    ]


def test_weight_averaging_equals_the_mean_of_its_epochs(tmp_path):
    model = BoringModel()
    quick(tmp_path, max_epochs=4, callbacks=[StochasticWeightAveraging(swa_epoch_start=2, swa_lrs=0.1)]).fit(model)
    assert all(value.isfinite().all() for value in model.state_dict().values())


def test_parameters_of_every_kind(tmp_path):
    class Model(LightningModule):
        def __init__(self):
            super().__init__()
            self.embedding = torch.nn.Embedding(8, 4, sparse=True)
            self.lazy = torch.nn.LazyLinear(2)
            self.frozen = torch.nn.Linear(2, 2).requires_grad_(False)
            self.unused = torch.nn.Parameter(torch.ones(3))

        def training_step(self, batch, batch_idx):
            return self.frozen(self.lazy(self.embedding(torch.arange(4)))).sum() + 0 * batch.sum()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    trainer = quick(tmp_path)
    trainer.fit(Model(), DataLoader(RandomDataset(4, 4)))
    assert trainer.global_step == 4


def test_a_nan_loss_is_seen_by_detect_anomaly(tmp_path):
    class Model(BoringModel):
        def training_step(self, batch, batch_idx):
            return {"loss": (self.layer(batch) * float("nan")).sqrt().sum()}

    with pytest.raises(RuntimeError, match="returned nan values"), pytest.warns(UserWarning, match="Error detected in"):
        quick(tmp_path, detect_anomaly=True).fit(Model())


def test_optimizers_exchanged_in_the_middle(tmp_path):
    class Model(BoringModel):
        def on_train_epoch_start(self):
            self.trainer.optimizers = [torch.optim.Adam(self.parameters(), lr=0.01)]

    trainer = quick(tmp_path, max_epochs=2)
    trainer.fit(Model())
    assert trainer.global_step == 8


def test_a_mocked_scheduler(tmp_path):
    class Model(BoringModel):
        def configure_optimizers(self):
            optimizer = super().configure_optimizers()[0][0]
            scheduler = Mock(spec=torch.optim.lr_scheduler.StepLR, optimizer=optimizer)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler}}

    model = Model()
    model.lr_scheduler_step = Mock()
    quick(tmp_path, enable_checkpointing=False).fit(model)
    assert model.lr_scheduler_step.call_count == 1
