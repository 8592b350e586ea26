"""`suggest --config …`: measure the norms of the run that a configuration describes, and print what they suggest."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.utilities.exceptions import _TunerExitException

from lightning_clip._checks import check_count
from lightning_clip.callbacks.finder._norm_meter import NormMeter
from lightning_clip.callbacks.finder.clip_threshold_finder import ClipThresholdFinder
from lightning_clip.cli.fit import SizedCLI, run_cli
from lightning_clip.cli.suggest import show
from lightning_clip.reports.suggestion import Suggestion, groups_of_steps


class _Measure(Callback):
    """Measures at the start of a fit, and ends it there, as Lightning's own tuner does."""

    def __init__(self, num_steps: int) -> None:
        self.finder = ClipThresholdFinder(num_steps=num_steps)
        self.meter: NormMeter | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.meter = self.finder.measure(trainer, pl_module, keeps_parameters=True)
        raise _TunerExitException


class _SuggestCLI(SizedCLI):
    """LightningCLI that measures in place of fitting."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the number of steps."""
        super().add_arguments_to_parser(parser)
        parser.add_argument("--num_steps", type=int, default=200, help="the number of optimizer steps to measure")

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build the Trainer, and leave only the measurement of its callbacks and loggers."""
        steps = self._get(self.config, "num_steps")
        check_count("suggest", num_steps=steps)
        trainer = super().instantiate_trainer(**kwargs)
        self.measure = _Measure(steps)
        trainer.callbacks, trainer.loggers = [self.measure], []  # type: ignore[attr-defined]
        return trainer


def suggest_config(args: list[str]) -> int:
    """Measure and print.

    Args:
        args: The options of `lightning-clip fit`, and `--num_steps`.

    Returns:
        The exit code.
    """
    cli = run_cli(["fit", *args], _SuggestCLI)
    meter = cli.measure.meter
    samples = meter.samples if meter is not None else {}
    names = [f"Optimizer {index}" if len(samples) > 1 else "" for index in samples]
    show(
        [
            Suggestion(
                samples[index], groups_of_steps(meter.parameter_norms.get(index, [])), name, "measured and undone"
            )
            for index, name in zip(samples, names, strict=True)
            if meter is not None
        ],
        " ".join(args),
    )
    return 0
