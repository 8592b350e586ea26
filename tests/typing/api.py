"""The public names as a type checker sees them: `mypy tests/typing` in `make lint`, pyright in `make test-types`."""

from pathlib import Path
from typing import assert_type

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn

import lightning_clip as lc
from lightning_clip.core import History, PendingStep, StepBuffer, StepRecord
from lightning_clip.functional import clip_coef
from lightning_clip.reports import Evidence, Finding, Severity, diagnose


class MeanNormClip(lc.ClipStrategy):
    """A strategy of the user's own."""

    def __init__(self, limit: float = 1.0) -> None:
        super().__init__()
        self.limit = limit

    def decide(self, grads: lc.Gradients) -> lc.Scale:
        assert_type(grads.total_norm(), Tensor)
        return lc.Scale(clip_coef(grads.norms().mean(), self.limit), self.limit)


class Forecaster(lc.TruncatedBPTTMixin, LightningModule):
    """A module of the user's own."""

    def __init__(self) -> None:
        super().__init__(truncated_bptt_steps=20)
        self.rnn, self.head = nn.GRU(1, 8, batch_first=True), nn.Linear(8, 1)

    def tbptt_step(self, chunk: tuple[Tensor, Tensor], hiddens: Tensor | None) -> tuple[Tensor, Tensor]:
        outputs, last = self.rnn(chunk[0], hiddens)
        return nn.functional.mse_loss(self.head(outputs), chunk[1]), last

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters())


def with_a_trainer() -> Trainer:
    clipping = lc.GradientClipping(lc.Chain([lc.SkipSpikes(), lc.NormClip(1.0)]), sinks=[lc.JsonlSink("run.jsonl")])
    named = lc.GradientClipping("autoclip", group_by={"head": ["head.*"]})
    assert_type(clipping.record, lc.RunRecord)
    assert_type(named.history, History)
    return Trainer(callbacks=[clipping, lc.StrategySwitcher([MeanNormClip()]), lc.NonFiniteGuard("skip")])


def what_a_checker_refuses() -> None:
    lc.NormClip("large")  # type: ignore[arg-type]
    lc.NonFiniteGuard("skp")  # type: ignore[arg-type]
    lc.StrategySwitcher([lc.NormClip])  # type: ignore[list-item]


def without_a_trainer(module: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor) -> list[StepRecord]:
    buffer = StepBuffer()
    step = lc.clip_(lc.Gradients.of_optimizer(optimizer, {}, step=0), lc.ZClip.reference(), loss=loss)
    assert_type(step, PendingStep)
    buffer.add(step)
    assert_type(lc.Gradients.of_module(module), lc.Gradients)
    return buffer.flush()


def from_a_file(path: Path) -> list[Finding]:
    record = lc.load_record(path)
    assert_type(record, lc.RunRecord)
    findings = diagnose(Evidence.of(record.history, record.run))
    assert_type(findings[0].severity, Severity)
    return [*findings, *record.diagnose()]
