"""Callbacks and sinks that do not go together, as a script puts them into a Trainer: refused before training."""

from functools import cache
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader, TensorDataset

from lightning_clip import RNNModule
from tests.faults.bad_input.case import Files, Script, Warned
from tests.faults.bad_input.constructors import scope as public

NOTES = "a note"
DATA = DataLoader(TensorDataset(torch.ones(4, 3), torch.ones(4, 1)), batch_size=2)


class Tiny(LightningModule):
    """One linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3, 1)

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        loss: torch.Tensor = (self.layer(batch[0]) - batch[1]).square().mean()
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(callbacks: list[Any], module: LightningModule | None = None, **options: Any) -> None:
    """Fit for two steps."""
    trainer = Trainer(
        callbacks=callbacks,
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )
    trainer.fit(module or Tiny(), DATA)


@cache
def _scope() -> dict[str, Any]:
    return {**public(), "fit": fit, "Tiny": Tiny, "RNNModule": RNNModule}


def _fit(code: str, *says: str, files: Files | None = None) -> Script:
    return Script("callbacks", code, says, files or {}, code=f"fit({code})", scope=_scope)


def _warned(code: str, *says: str, files: Files | None = None) -> Warned:
    def run() -> None:
        eval(f"fit({code}\n)", _scope())  # an expression of our own

    return Warned("callbacks", code, says, files or {}, run=run)


CASES = [
    _fit("[GradientClipping()], gradient_clip_val=1.5", "gradient_clip_val=1.5", "Remove"),
    _fit("[GradientClipping()], gradient_clip_val=1.5, gradient_clip_algorithm='value'", "ValueClip(1.5)"),
    _fit("[StrategySwitcher([NormClip(1.0)])]", "StrategySwitcher", "GradientClipping"),
    _fit("[StrategySwitcher([NormClip(1.0)]), GradientMonitor()]", "StrategySwitcher", "GradientClipping"),
    _fit("[GradientClipping(), DivergenceRollback(tighten=True)]", "tighten", "StrategySwitcher"),
    _fit("[GradientClipping(), StrategySwitcher({7: [NormClip(1.0)]})]", "StrategySwitcher", "7"),
    _fit("[GradientClipping(AGC(exclude=['head.*']))]", "'head.*'", "matches no parameter"),
    _fit("[GradientClipping(AGC(exclude=['layr.*']))]", "'layr.*'", "did you mean 'layer.*'?"),
    _fit("[GradientClipping(AGC(unit_axes={'layer.weigth': [0]}))]", "'layer.weigth'", "did you mean 'layer.weight'?"),
    _fit("[GradientClipping(AGC(unit_axes={'layer.weight': [7]}))]", "'layer.weight'", "7"),
    _fit("[GradientClipping(GroupNormClip({'head.*': 1.0}))]", "'head.*'", "matches no parameter"),
    _fit(
        "[GradientClipping(GroupNormClip({'layer.wieght': 1.0, '*': 2.0}))]",
        "'layer.wieght'",
        "did you mean 'layer.weight'?",
    ),
    _fit(
        "[GradientClipping(GroupNormClip({'layer.*': 1.0, '*weight': 2.0}))]",
        "'layer.weight'",
        "'layer.*'",
        "'*weight'",
    ),
    _fit("[GradientClipping(SpectralClip(exclude=['layr.*']))]", "'layr.*'", "did you mean 'layer.*'?"),
    _warned("[GradientClipping(group_by={'head': ['head.*']})]", "'head.*'", "matches no parameter"),
    _warned("[GradientClipping(group_by={'layer': ['layr.*']})]", "'layr.*'", "did you mean 'layer.*'?"),
    _warned("[GradientClipping(sinks=[JsonlSink('sub')])]", "sub", "directory", files={"sub": None}),
    _warned("[GradientClipping(sinks=[CsvSink('sub')])]", "sub", "directory", files={"sub": None}),
    _warned("[GradientClipping(sinks=[JsonlSink('notes/r.jsonl')])]", "notes", files={"notes": NOTES}),
    _warned("[GradientClipping(sinks=[CsvSink('notes/r.csv')])]", "notes", files={"notes": NOTES}),
    _warned("[GradientClipping(sinks=[JsonlSink('notes')])]", "notes", "not a record", files={"notes": NOTES}),
    _warned(
        "[GradientClipping(sinks=[JsonlSink('notes')])]  # with a newline",
        "notes",
        "not a record",
        files={"notes": f"{NOTES}\n"},
    ),
    _warned(
        "[GradientClipping(sinks=[JsonlSink('w.bin')])]", "w.bin", "not a record", files={"w.bin": bytes(range(256))}
    ),
    _warned("[GradientClipping(sinks=[CsvSink('notes')])]", "notes", "header", files={"notes": NOTES}),
    _warned("[GradientClipping(sinks=[CsvSink('w.bin')])]", "w.bin", "header", files={"w.bin": bytes(range(256))}),
    _warned("[GradientClipping(sinks=[CsvSink('a.csv')])]", "a.csv", "header", files={"a.csv": "day,price\n1,2\n"}),
    _warned("[GradientClipping(sinks=[JsonlSink('r'), JsonlSink('r')])]", "r", "another run is writing"),
    _warned("[GradientClipping(sinks=[JsonlSink('r'), CsvSink('./r')])]", "r", "another run is writing"),
    _warned(
        "[GradientClipping(sinks=[JsonlSink('r')]), GradientMonitor(sinks=[JsonlSink('r')])]",
        "r",
        "another run is writing",
    ),
    _warned(
        "[GradientClipping(sinks=[JsonlSink('r.jsonl')])]",
        "r.jsonl",
        "another run",
        files={"r.jsonl": '{"run": {"model": "Other", "id": "1"}}\n'},
    ),
    _warned("[GradientClipping(sinks=[JsonlSink('/proc/r.jsonl')])]", "/proc/r.jsonl"),
    _fit("[TemporalGradientMonitor(layer='nope')], RNNModule(3, 1)", "'nope'", "'recurrent'"),
    _fit("[TemporalGradientMonitor(layer='recurent')], RNNModule(3, 1)", "did you mean 'recurrent'?"),
]
