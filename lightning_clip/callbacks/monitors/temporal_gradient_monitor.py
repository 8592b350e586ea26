"""`TemporalGradientMonitor`: measures how far gradients reach back through time."""

import math
from collections import deque
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from typing_extensions import override

from lightning_clip._checks import check_count, check_instance
from lightning_clip._compat import is_kind
from lightning_clip.callbacks._gradient_observer import observers
from lightning_clip.callbacks._metrics import publish
from lightning_clip.callbacks._trainer import check_strategy_support
from lightning_clip.callbacks.monitors._layer_lookup import LayerCall, check_layer, find_recurrent_layer
from lightning_clip.callbacks.monitors._recurrent_monitor import RecurrentMonitor, whole_number
from lightning_clip.core.recurrent.temporal_profile import TemporalProfile
from lightning_clip.functional.gradient_flow import gradient_flow, random_directions
from lightning_clip.functional.temporal import norms_by_lag
from lightning_clip.functional.unit_states import denormal_fraction

FEWEST_STEPS = 8
"""Shorter sequences are not measured: they have too few lags to fit a rate."""

FEWEST_INPUTS = 32
"""A layer with fewer inputs gets additional zero inputs, because the gradient at a few inputs can hide its growth."""

FEWEST_PEAKS = 5
"""The number of profiles needed to know the usual peak norm."""


class TemporalGradientMonitor(RecurrentMonitor):
    """Measure how the gradient of a loss at the last step shrinks or grows on its way back through a recurrent layer.

    Every `every_n_steps` steps, the monitor runs the layer again on a few rows of its input, without dropout and in
    single precision. One backward pass from a loss at the last step gives the gradient at every earlier step. The
    result is a `TemporalProfile`: the growth rate over lag with its R², the lags within which the gradient falls to 1%
    and its norms reach 99% of their sum, and a verdict: exploding, vanishing or healthy. It goes into the record and
    report of every `GradientClipping` and `GradientMonitor` of the trainer, and to the loggers as `rnn/growth_rate`
    (per step), `rnn/horizon` (steps) and, if the gradient vanishes, `rnn/half_life` (steps); with several monitors, the
    keys begin with the name of the layer.

    The loss is a fixed random projection of the last state, not the loss of the task. Rate and horizon do not depend on
    its scale and hardly on its direction. A fixed direction makes all profiles comparable, and this loss exists even if
    the task's loss ignores the last step. With a loss at every step, later gradients would hide how fast each one
    shrinks.

    Monitoring changes nothing: weights, `.grad`, random numbers, modes and the state that a module carries between
    batches stay the same, bit for bit. Each profile reads the device once. With several processes, only rank zero
    measures and logs. Chunks of truncated BPTT are measured one by one, so a lag is at most as long as a chunk.

    It never ends a training. If the layer is missing or ambiguous, if its gradient flow cannot be measured because it
    is bidirectional, sharded, or does not compute the same as torch's layers, or if measuring fails, one warning says
    so, and the run goes on without profiles.

    Args:
        every_n_steps: The number of optimizer steps between profiles; the first batch gives the first profile.
        rows: The number of rows of the batch to use; for packed sequences, the longest ones of at least `FEWEST_STEPS`
            steps, cut to the shortest of them.
        max_steps: The longest lag; for longer sequences, only the last steps are used.
        exact: Whether to measure the gradient with respect to the states, by running the layer step by step, instead of
            the gradient with respect to its inputs, which shrinks and grows alike. Takes ten times as long for an LSTM.
        layer: The dotted name of the recurrent layer; required if there are several.

    Attributes:
        profiles: The latest 200 profiles of this session.
        skipped: The number of batches at which a profile was due, but the layer was not called with gradients or only
            on sequences of fewer than `FEWEST_STEPS` steps.

    Raises:
        ArgumentError: An argument is out of range.
        ArgumentTypeError: An argument is not a whole number.
        MisconfigurationException: At fit, if the module has no recurrent layer named `layer`, or calls cells instead.

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
        self.every_n_steps = every_n_steps
        self.rows = rows
        self.max_steps = max_steps
        self.exact = exact
        self.layer = layer
        self.profiles: deque[TemporalProfile] = deque(maxlen=200)
        self.skipped = 0
        self._peaks: deque[float] = deque(maxlen=50)
        self._found: tuple[str, nn.RNNBase] | None = None
        self._handle: RemovableHandle | None = None
        self._call: LayerCall | None = None

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
        self._found = find_recurrent_layer(type(self).__name__, pl_module, self.layer)

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._stop_watching()
        if trainer.is_global_zero and self._found is not None and trainer.global_step >= self._next_step:
            with self._measuring():
                self._handle = self._found[1].register_forward_hook(self._note, with_kwargs=True)

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # or the compiler would trace into the layer's hook
    def _note(self, layer: nn.RNNBase, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        """Keep the arguments of the layer's latest call before the backward pass on sequences that are long enough."""
        if torch.is_grad_enabled():
            with self._measuring():
                call = LayerCall.of(layer, args, kwargs, rows=self.rows, at_least=FEWEST_STEPS)
                self._call = call if len(call.inputs) >= FEWEST_STEPS else self._call

    @override
    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        if self._call is None or self._found is None:
            return
        with self._measuring():
            profile = self._measure(trainer.global_step, *self._found, self._call)
            self._stop_watching()
            self._next_step = (trainer.global_step // self.every_n_steps + 1) * self.every_n_steps
            self.profiles.append(profile)
            if profile.is_finite:
                self._peaks.append(profile.peak)
            for observer in observers(trainer):
                observer.add_measurement(profile.to_measurement())
            publish(trainer, {self._key_prefix(trainer) + key: value for key, value in _metrics(profile).items()})

    def _key_prefix(self, trainer: Trainer) -> str:
        """Several monitors keep their metrics apart by the name of the layer."""
        callbacks = trainer.callbacks  # type: ignore[attr-defined]  # set while the Trainer is built
        several = sum(isinstance(callback, TemporalGradientMonitor) for callback in callbacks) > 1
        return f"{self.layer}/" if self.layer and several else ""

    def _measure(self, step: int, name: str, layer: nn.RNNBase, call: LayerCall) -> TemporalProfile:
        flow = gradient_flow(
            layer,
            call.inputs,
            call.hiddens,
            direction=random_directions(call.inputs.shape[1], layer.proj_size or layer.hidden_size),
            max_steps=self.max_steps,
            exact=self.exact,
            probes=max(0, FEWEST_INPUTS - layer.input_size),
        )
        norms = norms_by_lag(flow)
        read = torch.cat([norms, denormal_fraction(flow).to(norms)[None]]).cpu()
        usual = float(np.median(self._peaks)) if len(self._peaks) >= FEWEST_PEAKS else math.nan
        denormal = float(read[-1])
        return TemporalProfile.of_norms(
            step, name, read[:-1], cell=layer.mode, denormal_fraction=denormal, usual_peak=usual
        )

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.skipped += self._handle is not None
        self._stop_watching()

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.skipped and self._next_step == 0 and self._found is not None:
            rank_zero_warn(
                f"TemporalGradientMonitor measured nothing: in {self.skipped} batches {self._found[0]!r} was not "
                f"called with gradients on a sequence of at least {FEWEST_STEPS} steps."
            )

    @override
    def _stop_watching(self) -> None:
        self._call = None
        if self._handle is not None:
            self._handle.remove()
            self._handle = None

    @override
    def _let_go(self) -> None:
        self._found = None

    @override
    def _reset(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super()._reset(trainer, pl_module)
        self.profiles.clear()
        self._peaks.clear()
        self.skipped = 0

    @override
    def _save(self) -> dict[str, Any]:
        return {"next_step": self._next_step, "skipped": self.skipped, "peaks": list(self._peaks)}

    @override
    def _load(self, state: dict[str, Any]) -> None:
        super()._load(state)
        self.skipped = whole_number(state, "skipped")
        self._peaks.extend(float(peak) for peak in state["peaks"])


def _metrics(profile: TemporalProfile) -> dict[str, float]:
    """Return the metrics of a profile, without NaN and infinite values."""
    metrics = {
        "rnn/growth_rate": profile.growth_rate,
        "rnn/horizon": float(profile.horizon),
        "rnn/half_life": profile.half_life,
    }
    return {key: value for key, value in metrics.items() if math.isfinite(value)}
