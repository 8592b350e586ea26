"""`TemporalGradientMonitor`: measures how far gradients reach back through time."""

import math
from collections import deque
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from typing_extensions import override

from lightning_clip._checks import check_count, check_flag, check_instance
from lightning_clip._compat import is_kind
from lightning_clip.callbacks._gradient_observer import observers
from lightning_clip.callbacks._metrics import publish
from lightning_clip.callbacks._trainer import check_strategy_support
from lightning_clip.callbacks.monitors._layer_lookup import check_layer, find_targets
from lightning_clip.callbacks.monitors._recurrent_monitor import RecurrentMonitor, whole_number
from lightning_clip.callbacks.monitors._targets import FEWEST_STEPS, Flow, Limits, Target
from lightning_clip.core.recurrent.temporal_profile import TemporalProfile
from lightning_clip.functional.temporal import norms_by_lag
from lightning_clip.functional.unit_states import denormal_fraction

FEWEST_PEAKS = 5
"""The number of profiles needed to know the usual peak norm."""

_OLD = ""  # the layer of peaks that an earlier version has saved, which measured one layer and did not name it


class TemporalGradientMonitor(RecurrentMonitor):
    """Measure how the gradient of a loss at the last step shrinks or grows on its way back through a recurrent layer.

    Every `every_n_steps` steps, the monitor runs the layer again on a few rows of its input, without dropout and in
    single precision. One backward pass from a loss at the last step gives the gradient at every earlier step. The
    result is a `TemporalProfile`: the growth rate over lag with its R², the lags within which the gradient falls to 1%
    and its norms reach 99% of their sum, and a verdict: exploding, vanishing or healthy. It goes into the record and
    report of every `GradientClipping` and `GradientMonitor` of the trainer, and to the loggers as `rnn/growth_rate`
    (per step), `rnn/horizon` (steps) and, if the gradient vanishes, `rnn/half_life` (steps); with several layers, the
    keys begin with the name of the layer.

    The loss is a fixed random projection of the last state, not the loss of the task. Rate and horizon do not depend on
    its scale and hardly on its direction. A fixed direction makes all profiles comparable, and this loss exists even if
    the task's loss ignores the last step. With a loss at every step, later gradients would hide how fast each one
    shrinks.

    Monitoring changes nothing: weights, `.grad`, random numbers, modes and the state that a module carries between
    batches stay the same, bit for bit. Each profile reads the device once. With several processes, only rank zero
    measures and logs. Chunks of truncated BPTT are measured one by one, so a lag is at most as long as a chunk.

    By default every `nn.RNN`, `nn.LSTM`, `nn.GRU` and cell of these is measured. Calls of a layer that start from the
    state that its call before has returned are one sequence: an encoder and a decoder with the same weights, or a loop
    over the steps. Of other calls, the longest counts. A bidirectional layer has two profiles, `"name (forward)"` and
    `"name (backward)"`, of the first of its stacked layers. Any other module from `(batch, steps, …)` to `(batch,
    steps, …)`, such as an xLSTM or a state-space block, is measured if `layer` names it: with its own graph, so in the
    precision of the training, by the gradient of its output at the last step with respect to its input.

    It never ends a training. If there is no recurrent layer, if the gradient flow of a layer cannot be measured because
    it is sharded or does not compute the same as torch's layers, or if measuring fails, one warning says so, and the
    run goes on without profiles of it.

    Args:
        every_n_steps: The number of optimizer steps between profiles; the first batch gives the first profile.
        rows: The number of rows of the batch to use; for packed sequences, the longest ones of at least `FEWEST_STEPS`
            steps, cut to the shortest of them.
        max_steps: The longest lag; for longer sequences, only the last steps are used.
        exact: Whether to measure the gradient with respect to the states, by running the layer step by step, instead of
            the gradient with respect to its inputs, which shrinks and grows alike. Takes ten times as long for an LSTM.
        layer: The dotted name of the recurrent layer, or of another module with a time axis, to measure only this one.

    Attributes:
        profiles: The latest 200 profiles of this session.
        skipped: The number of batches at which a profile was due, but the layer was not called with gradients or only
            on sequences of fewer than `FEWEST_STEPS` steps.

    Raises:
        ArgumentError: An argument is out of range.
        ArgumentTypeError: An argument is not a whole number.
        MisconfigurationException: At fit, if the module has nothing named `layer`.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> monitor = TemporalGradientMonitor(every_n_steps=50)
        >>> trainer = Trainer(callbacks=[monitor], logger=False, accelerator="cpu")

    References:
        Razvan Pascanu, Tomas Mikolov and Yoshua Bengio, "On the difficulty of training recurrent neural networks",
        2013, https://arxiv.org/abs/1211.5063.
        Christopher Aicher, Nicholas Foti and Emily Fox, "Adaptively Truncating Backpropagation Through Time to Control
        Gradient Bias", 2019, https://arxiv.org/abs/1905.07473, which chooses chunk lengths by such norms.
    """

    def __init__(
        self,
        *,
        every_n_steps: int = 100,
        rows: int = 4,
        max_steps: int = 256,
        exact: bool = False,
        layer: str | None = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        check_count(name, every_n_steps=every_n_steps, rows=rows)
        check_count(name, at_least=FEWEST_STEPS, max_steps=max_steps)
        check_instance(name, str, or_none=True, layer=layer)
        check_flag(name, exact=exact)
        self.every_n_steps = every_n_steps
        self.rows = rows
        self.max_steps = max_steps
        self.exact = exact
        self.layer = layer
        self.profiles: deque[TemporalProfile] = deque(maxlen=200)
        self.skipped = 0
        self._peaks: dict[str, deque[float]] = {}
        self._targets: list[Target] = []
        self._measured: set[str] = set()

    @property
    def latest(self) -> TemporalProfile | None:
        """The latest profile of this session."""
        return self.profiles[-1] if self.profiles else None

    @property
    @override
    def state_key(self) -> str:
        return self._generate_state_key(layer=self.layer) if self.layer else type(self).__qualname__

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        check_layer(type(self).__name__, pl_module, self.layer)

    @override
    def _find(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if is_kind(trainer.strategy, "FSDPStrategy"):
            check_strategy_support(self, trainer)
        self._targets, left_out = find_targets(type(self).__name__, pl_module, self.layer)
        for reason in left_out:
            rank_zero_warn(f"{reason} The other layers are measured.")

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._stop_watching()
        if trainer.is_global_zero and trainer.global_step >= self._next_step:
            with self._measuring():
                for target in self._targets:
                    target.watch(self._limits, self._measuring)

    @property
    def _limits(self) -> Limits:
        return Limits(self.rows, self.max_steps, self.exact)

    @override
    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        with self._measuring():
            for target in [one for one in self._targets if one.handles]:
                profiles = [self._profile(trainer.global_step, flow) for flow in target.flows(self._limits)]
                for profile in profiles:
                    self._publish(trainer, profile)
                if profiles:
                    target.release()
                    self._measured.add(target.name)
                    self._next_step = (trainer.global_step // self.every_n_steps + 1) * self.every_n_steps

    def _publish(self, trainer: Trainer, profile: TemporalProfile) -> None:
        self.profiles.append(profile)
        if profile.is_finite:
            self._peaks.setdefault(profile.layer, deque(maxlen=50)).append(profile.peak)
        for observer in observers(trainer):
            observer.add_measurement(profile.to_measurement())
        prefix = self._key_prefix(trainer, profile.layer)
        publish(trainer, {prefix + key: value for key, value in _metrics(profile).items()})

    def _key_prefix(self, trainer: Trainer, layer: str) -> str:
        """Several layers keep their metrics apart by their names."""
        callbacks = trainer.callbacks  # type: ignore[attr-defined]  # set while the Trainer is built
        monitors = sum(isinstance(callback, TemporalGradientMonitor) for callback in callbacks)
        several = len(self._targets) > 1 or layer != self._targets[0].name or (monitors > 1 and self.layer)
        return f"{layer.replace(' (', '-').rstrip(')')}/" if several else ""

    def _profile(self, step: int, flow: Flow) -> TemporalProfile:
        norms = norms_by_lag(flow.gradient)
        read = torch.cat([norms, denormal_fraction(flow.gradient).to(norms)[None]]).cpu()
        peaks = self._peaks.setdefault(flow.name, self._peaks.pop(_OLD, deque(maxlen=50)))
        usual = float(np.median(peaks)) if len(peaks) >= FEWEST_PEAKS else math.nan
        denormal = float(read[-1])
        return TemporalProfile.of_norms(
            step, flow.name, read[:-1], cell=flow.cell, denormal_fraction=denormal, usual_peak=usual
        )

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        watched = [target for target in self._targets if target.handles]
        self.skipped += bool(watched) and len(watched) == len(self._targets)
        self._stop_watching()

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        missed = [repr(target.name) for target in self._targets if target.name not in self._measured]
        if missed and (self._measured or (self.skipped and self._next_step == 0)):
            batches = f"in {self.skipped} batches" if not self._measured else "in the others' batches"
            rank_zero_warn(
                f"TemporalGradientMonitor measured nothing: {batches} {', '.join(missed)} was not called with "
                f"gradients on a sequence of at least {FEWEST_STEPS} steps."
            )

    @override
    def _stop_watching(self) -> None:
        for target in self._targets:
            target.release()

    @override
    def _let_go(self) -> None:
        self._targets = []

    @override
    def _reset(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super()._reset(trainer, pl_module)
        self.profiles.clear()
        self._peaks = {}
        self._measured = set()
        self.skipped = 0

    @override
    def _save(self) -> dict[str, Any]:
        return {
            "next_step": self._next_step,
            "skipped": self.skipped,
            "peaks": {n: list(p) for n, p in self._peaks.items()},
        }

    @override
    def _load(self, state: dict[str, Any]) -> None:
        super()._load(state)
        self.skipped = whole_number(state, "skipped")
        peaks = state["peaks"] if isinstance(state["peaks"], dict) else {_OLD: state["peaks"]}
        self._peaks = {name: deque(map(float, values), maxlen=50) for name, values in peaks.items()}


def _metrics(profile: TemporalProfile) -> dict[str, float]:
    """Return the metrics of a profile, without NaN and infinite values."""
    metrics = {
        "rnn/growth_rate": profile.growth_rate,
        "rnn/horizon": float(profile.horizon),
        "rnn/half_life": profile.half_life,
    }
    return {key: value for key, value in metrics.items() if math.isfinite(value)}
