"""`ClipThresholdFinder`: measures the norms of a run before it begins, and sets its threshold."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch.nn.parameter import is_lazy
from typing_extensions import override

from lightning_clip._checks import check_count, check_positive_finite
from lightning_clip.callbacks._gradient_observer import observers
from lightning_clip.callbacks._run_callback import RunCallback
from lightning_clip.callbacks.finder._norm_meter import NormMeter
from lightning_clip.callbacks.finder._trial_run import run_trial
from lightning_clip.callbacks.gradient_clipping import GradientClipping
from lightning_clip.core.record.norm_sample import check_statistic
from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.strategies.norm_clip import NormClip


class ClipThresholdFinder(RunCallback):
    r"""Measure total norms for a while, set the threshold of `GradientClipping(NormClip(…))`, and put everything back.

    $$c = \min\left(\text{statistic}(\lVert g_1 \rVert, \dots, \lVert g_k \rVert),\;
      \text{max\_update\_ratio} \cdot \lVert w \rVert \, \frac{1 - \text{momentum}}{\text{lr}}\right)$$

    A run with the finder equals, bit for bit, a run started with the threshold that it found. Weights, buffers,
    optimizers, schedulers, gradient scaler, random states, metrics, progress and the position in the data are put back
    before the run begins, as after Lightning's `LearningRateFinder`. No other callback takes part in the measured
    steps, and no record, logger or checkpoint contains them. After the measurement, nothing is done in any step.

    The norms are measured before clipping, but each measured step is then clipped at the median norm so far, or at the
    second term if it is lower. Measured without clipping, two of three test tasks diverge within ten steps, and on the
    third, a recurrent network, the P90 is ten times as large as with clipping, which is too large to train well.

    The second term is for SGD alone, whose steps are as long as its gradients: a threshold above it lets a single
    gradient move the weights further than `max_update_ratio` of their norm, however usual such gradients are. Adam and
    its relatives divide by a running norm, so for them the statistic decides.

    Each optimizer gets a threshold of its own. A run that is resumed or continued is not measured again. The host waits
    for the device at each measured step. Put the finder after a `LearningRateFinder` or `BatchSizeFinder`: finders run
    in the order of the list.

    Args:
        num_steps: The number of steps to measure, of the optimizer that steps most often; less if the run is shorter.
        statistic: The statistic of the norms: `"mean"`, `"median"` or a percentile such as `"p90"`.
        max_update_ratio: How far a step of SGD at the threshold may move the weights, as a fraction of their norm,
            momentum and the highest rate of a warm-up included; `None` for no limit.

    Attributes:
        thresholds: The threshold of each optimizer; empty before the first run, and where nothing could be found.

    Raises:
        ArgumentError: An argument is out of range.
        MisconfigurationException: At fit, if there is not exactly one `GradientClipping(NormClip(…))` among the
            callbacks, if the network has lazy parameters, or if a checkpoint has no threshold.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> from lightning_clip import GradientClipping
        >>> callbacks = [GradientClipping(NormClip()), ClipThresholdFinder(num_steps=100)]
        >>> trainer = Trainer(callbacks=callbacks, logger=False, accelerator="cpu")

    References:
        Razvan Pascanu, Tomas Mikolov, Yoshua Bengio, "On the difficulty of training recurrent neural networks", 2013,
        https://arxiv.org/abs/1211.5063, for a threshold from statistics of the norm. The paper takes half to ten times
        the mean.
    """

    def __init__(self, *, num_steps: int = 200, statistic: str = "p90", max_update_ratio: float | None = 0.1) -> None:
        super().__init__()
        check_count("ClipThresholdFinder", num_steps=num_steps)
        check_statistic("ClipThresholdFinder", statistic)
        if max_update_ratio is not None:
            check_positive_finite("ClipThresholdFinder", max_update_ratio=max_update_ratio)
        self.num_steps = num_steps
        self.statistic = statistic
        self.max_update_ratio = max_update_ratio
        self.thresholds: list[float] = []
        self._steps_of_checkpoint = 0

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if stage == "fit":
            self._steps_of_checkpoint = 0
            _clipping_of(trainer)

    @override
    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._steps_of_checkpoint = checkpoint.get("global_step", 0)

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        is_restored = self._loaded is not None or self._steps_of_checkpoint > 0
        is_restored |= bool(trainer.ckpt_path) and trainer.strategy.restore_checkpoint_after_setup
        if is_restored or self._is_continued(trainer, pl_module):
            return
        if lazy := [name for name, param in pl_module.named_parameters() if is_lazy(param)]:
            raise MisconfigurationException(
                f"ClipThresholdFinder: {lazy[0]} has no values before the first batch, so they cannot be put back. "
                "Pass one batch through the network before the fit."
            )
        strategy = _clipping_of(trainer).strategy
        assert isinstance(strategy, NormClip)
        meter = self.measure(trainer, pl_module, norm_type=strategy.norm_type)
        found = [meter.samples.get(index) for index in range(len(trainer.optimizers))]
        values = [sample.suggestion(self.statistic) if sample is not None else None for sample in found]
        thresholds = [strategy.max_norm if value is None else value for value in values]
        self.thresholds = trainer.strategy.broadcast(thresholds)
        self._announce(meter, values, strategy)

    def measure(
        self, trainer: Trainer, pl_module: LightningModule, *, norm_type: float = 2.0, keeps_parameters: bool = False
    ) -> NormMeter:
        """Train for `num_steps` steps, measure them, and put everything back.

        Args:
            trainer: The trainer, in `on_fit_start`.
            pl_module: The module being trained.
            norm_type: p of the p-norm.
            keeps_parameters: Whether to keep the norm of each parameter at each step, too.

        Returns:
            What was measured.
        """
        meter = NormMeter(
            self.num_steps,
            self.max_update_ratio,
            norm_type=norm_type,
            max_steps=trainer.fit_loop.max_steps,
            max_epochs=-1 if trainer.max_epochs is None else trainer.max_epochs,
            keeps_parameters=keeps_parameters,
        )
        run_trial(trainer, pl_module, meter)
        return meter

    def _announce(self, meter: NormMeter, values: Sequence[float | None], strategy: NormClip) -> None:
        for index, value in enumerate(values):
            sample = meter.samples.get(index)
            which = f"ClipThresholdFinder: optimizer {index}" if len(values) > 1 else "ClipThresholdFinder"
            steps = len(sample.norms) if sample is not None else 0
            if value is None:
                why = sample.diverged if sample is not None and sample.diverged else "no step had a gradient"
                rank_zero_warn(f"{which}: {why}, so nothing was found; {strategy!r} stays.")
                continue
            assert sample is not None
            if sample.diverged:
                rank_zero_warn(f"{which}: {sample.diverged}; the {steps} steps before suggest NormClip({value:g}).")
            is_step = value >= 0.99 * sample.step_limit
            by = f"a step moves the weights by {self.max_update_ratio} of their norm" if is_step else self.statistic
            rank_zero_info(f"{which}: NormClip({value:g}), from {steps} steps ({by}).")

    def starting_strategies(self, observer: Any, trainer: Trainer) -> Sequence[ClipStrategy] | None:
        """Return copies of the observer's `NormClip` with the thresholds that were found.

        Args:
            observer: The `GradientObserver` whose run begins or is restored.
            trainer: The trainer, at the start of training.
        """
        if not isinstance(observer, GradientClipping) or not isinstance(observer.strategy, NormClip):
            return None
        if self._loaded is not None:
            self._restore_checked(self._loaded, trainer)
        found = [deepcopy(observer.strategy) for _ in self.thresholds]
        for strategy, threshold in zip(found, self.thresholds, strict=True):
            strategy.max_norm = threshold
        return found or None

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        is_new = self._loaded is None and not self._is_continued(trainer, pl_module)
        if is_new and self._steps_of_checkpoint:
            raise MisconfigurationException(
                f"ClipThresholdFinder: {trainer.ckpt_path or 'the checkpoint'} was saved without this callback, and "
                "only the start of a run is measured. Write the threshold instead: GradientClipping(NormClip(…))."
            )
        super().on_train_start(trainer, pl_module)

    @override
    def _reset(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Nothing to forget: what was found belongs to the run that begins."""

    @override
    def _save(self) -> dict[str, Any]:
        return {"thresholds": list(self.thresholds)}

    @override
    def _load(self, state: dict[str, Any]) -> None:
        self.thresholds = [float(threshold) for threshold in state["thresholds"]]


def _clipping_of(trainer: Trainer) -> GradientClipping:
    """The callback whose threshold is set."""
    clippings = [one for one in observers(trainer) if isinstance(one, GradientClipping)]
    own = [one for one in clippings if isinstance(one.strategy, NormClip)]
    if len(own) != 1:
        found = ", ".join(f"GradientClipping({one.strategy!r})" for one in clippings) or "none"
        raise MisconfigurationException(
            "ClipThresholdFinder sets the threshold of one GradientClipping(NormClip()) among the callbacks; "
            f"found {found}. Add one, or remove the finder: adaptive strategies find their own threshold."
        )
    return own[0]
