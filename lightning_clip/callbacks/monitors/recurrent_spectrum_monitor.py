"""`RecurrentSpectrumMonitor`: samples the spectra of recurrent weights and the state of their units."""

import math
from dataclasses import asdict
from functools import partial
from statistics import fmean
from typing import Any

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningModule, Trainer
from typing_extensions import override

from lightning_clip._checks import check_count
from lightning_clip.callbacks._gradient_observer import observers
from lightning_clip.callbacks._metrics import publish
from lightning_clip.callbacks._trainer import check_strategy_support
from lightning_clip.callbacks.monitors._recurrent_monitor import RecurrentMonitor
from lightning_clip.core.record.measurements import Measurement
from lightning_clip.core.recurrent.layer import RecurrentLayer, recurrent_layers
from lightning_clip.core.recurrent.spectrum import KIND, Data, column
from lightning_clip.core.recurrent.spectrum_probe import SpectrumProbe
from lightning_clip.functional.sharded import is_sharded

_LARGEST = (
    "sigma_max",
    "spectral_radius",
    "saturated_fraction",
    "dead_fraction",
    "saturated_gate_fraction",
    "denormal_fraction",
)
_MEANS = ("forget_gate_mean", "update_gate_mean")


class RecurrentSpectrumMonitor(RecurrentMonitor):
    r"""Monitor the recurrent weights of every `nn.RNN`, `nn.LSTM` and `nn.GRU`, and the state of their units.

    For each gate of each `weight_hh` it measures the largest singular value σ and the spectral radius ρ. Each step back
    through a plain RNN multiplies the gradient by $W^T \mathrm{diag}(f')$, with $|f'| \le 1$ for tanh and ReLU:

    - σ < 1 proves that gradients vanish: after n steps back, at most a factor σⁿ is left.
    - σ ≤ 1 proves that they do not explode.
    - σ > 1 makes an explosion possible but does not prove it, because saturated units shrink gradients. Neither does
      ρ > 1, which describes the long-run effect of the weights alone, without f.
    - For a sigmoid, where $|f'| \le 1/4$, the bound is 4. In an LSTM or GRU the state also bypasses the gates, so the σ
      of one gate proves nothing: `TemporalGradientMonitor` measures how fast gradients really grow.

    After training, σ in the hundreds indicates exploded weights.

    For the units it measures the fraction of tanh units beyond ±0.95, the fraction of ReLU units that are zero
    throughout the batch, the mean of forget gates (LSTM) or update gates (GRU), and the fraction of gates below 0.05 or
    above 0.95. A mean gate of f halves a state in ln 0.5 / ln f steps. Units of the top layer are measured on the whole
    batch; gates and lower layers are recomputed for a few sequences, without dropout between layers. It also measures
    the fraction of denormal numbers in the gradient that a layer passes back to its input. Arithmetic with denormals is
    slow on many CPUs; `torch.set_flush_denormal(True)` sets them to zero.

    A sample is taken at the start of a batch (weights) and during it (units, gradients), and read at its end in one
    copy. Training stays the same, bit for bit: the monitor draws no random numbers, changes no mode, and adds only an
    alias of the layer's input to the graph. Each sample goes to every `GradientClipping` and `GradientMonitor` of the
    trainer as a `Measurement` of kind `"recurrent-spectrum"`. The loggers receive the maximum over all layers of
    `rnn/sigma_max`, `rnn/spectral_radius`, `rnn/saturated_fraction`, `rnn/dead_fraction`,
    `rnn/saturated_gate_fraction` and `rnn/denormal_fraction`, and the mean over layers of `rnn/forget_gate_mean` and
    `rnn/update_gate_mean`. With several processes, only rank zero measures.

    It never ends a training. If the module has no recurrent layer, if a parallel strategy shards its weights, or if
    measuring fails, one warning says so, and the run goes on without samples.

    Args:
        every_n_steps: The number of optimizer steps between samples.
        rows: The number of sequences of the batch for which gates and lower layers are recomputed.
        exact_up_to: The largest matrix (rows) whose spectral radius is computed from its eigenvalues, on a CPU. For
            larger matrices and on an accelerator, the result is up to 0.3% too high.

    Attributes:
        latest: The latest sample; `None` before the first.

    Raises:
        ArgumentTypeError: An argument is not a whole number.
        ArgumentError: An argument is below 1.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> monitor = RecurrentSpectrumMonitor(every_n_steps=50)
        >>> trainer = Trainer(callbacks=[monitor], logger=False, accelerator="cpu")

    References:
        Razvan Pascanu, Tomas Mikolov and Yoshua Bengio, "On the difficulty of training recurrent neural networks",
        2013, https://arxiv.org/abs/1211.5063, section 2.1.
    """

    def __init__(self, every_n_steps: int = 100, *, rows: int = 8, exact_up_to: int = 256) -> None:
        super().__init__()
        check_count(type(self).__name__, every_n_steps=every_n_steps, rows=rows, exact_up_to=exact_up_to)
        self.every_n_steps = every_n_steps
        self.rows = rows
        self.exact_up_to = exact_up_to
        self.latest: Measurement | None = None
        self._armed_at: int | None = None
        guard = partial(self._measuring, release=False)  # a hook that vanishes in a batch would break a checkpoint
        self._probe = SpectrumProbe([], rows=rows, exact_up_to=exact_up_to, guard=guard)

    @override
    def _find(self, trainer: Trainer, pl_module: LightningModule) -> None:
        check_strategy_support(self, trainer)
        self._probe.layers = _checked(recurrent_layers(pl_module), pl_module)

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        due = trainer.global_step >= self._next_step
        if trainer.is_global_zero and due and self._probe.layers and not self._stands_aside:
            with self._measuring():
                self._armed_at = trainer.global_step
                self._probe.arm()

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._stands_aside:
            self._release()
        if self._armed_at is None:
            return
        with self._measuring():
            self.latest = Measurement(self._armed_at, KIND, self._probe.read())
            self._next_step = (self._armed_at // self.every_n_steps + 1) * self.every_n_steps
            self._stop_watching()
            for observer in observers(trainer):
                observer.add_measurement(self.latest)
            publish(trainer, _metrics(self.latest.data))

    @override
    def _stop_watching(self) -> None:
        self._armed_at = None
        self._probe.disarm()

    @override
    def _let_go(self) -> None:
        self._probe.layers = []

    @override
    def _reset(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super()._reset(trainer, pl_module)
        self.latest = None
        self._probe.vectors = {}

    @override
    def _save(self) -> dict[str, Any]:
        return {
            "next_step": self._next_step,
            "latest": None if self.latest is None else asdict(self.latest),
            "vectors": dict(self._probe.vectors),
        }

    @override
    def _load(self, state: dict[str, Any]) -> None:
        super()._load(state)
        self.latest = None if state["latest"] is None else Measurement(**state["latest"])
        self._probe.vectors = dict(state["vectors"])


def _checked(layers: list[RecurrentLayer], pl_module: LightningModule) -> list[RecurrentLayer]:
    model = type(getattr(pl_module, "_orig_mod", pl_module)).__name__
    if not layers:
        raise MisconfigurationException(
            f"RecurrentSpectrumMonitor(): {model} has no nn.RNN, nn.LSTM or nn.GRU to monitor (cells like nn.LSTMCell "
            "do not count). Remove it; GradientMonitor monitors the gradients of any module."
        )
    for layer in layers:
        if any(is_sharded(parameter) for parameter in layer.module.parameters()):
            raise MisconfigurationException(
                f"RecurrentSpectrumMonitor(): {layer.weight_names[0]} of {model} is sharded, but singular values need "
                f"the whole matrix. Leave {layer.name!r} out of the sharding, or remove RecurrentSpectrumMonitor."
            )
    return layers


def _metrics(data: Data) -> dict[str, float]:
    """Aggregate each statistic over all layers, without values that are NaN or infinite."""
    known = {name: [value for value in column(data, name) if math.isfinite(value)] for name in (*_LARGEST, *_MEANS)}
    largest = {f"rnn/{name}": max(known[name]) for name in _LARGEST if known[name]}
    return largest | {f"rnn/{name}": fmean(known[name]) for name in _MEANS if known[name]}
