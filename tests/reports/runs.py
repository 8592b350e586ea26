"""The runs that reports are tested on, and what they look like at width 100 (`expected/`), comparisons at 80 too.

`python -m tests.reports.runs` writes the expected texts again; read the difference before keeping it.
"""

import math
from functools import cache
from pathlib import Path

import numpy as np
import torch

from lightning_clip.core import Event, History, RunInfo
from lightning_clip.core.record.measurements import Measurement
from lightning_clip.core.recurrent.gates import GATE_NORMS
from lightning_clip.core.recurrent.temporal_profile import TemporalProfile
from lightning_clip.reports import render_report, to_text
from lightning_clip.studies.comparison import render_comparison
from tests.reports.studied import grid, lengths, rates, remedies, study, tasks
from tests.support.recorded import history_of, record
from tests.support.spectra import sample

EXPECTED = Path(__file__).parent / "expected"
MLP = {"net.0.weight": 0.5, "net.2.weight": 0.45, "net.0.bias": 0.04, "net.2.bias": 0.01}
NUMELS = {"net.0.weight": 500, "net.0.bias": 25, "net.2.weight": 25, "net.2.bias": 1}
EXPLOSION = [310.0, 905.0, 4.2e3, 1.1e5, 3e8, 5e14, 2e26]

Run = tuple[History, RunInfo]


def healthy() -> Run:
    """Norms that fall from 3 to 0.6, with spikes of 15 times that; clipped at 4."""
    rng = np.random.default_rng(0)
    level = np.exp(1.0 - 1.6 * np.arange(1600) / 1600 + 0.45 * rng.standard_normal(1600))
    norms = np.where(rng.random(1600) < 0.02, 15 * level, level)
    run = RunInfo("MLPRegressor", "NormClip(max_norm=4.0)", "SGD(lr=0.01, momentum=0.9)", NUMELS, 3.21)
    return history_of(norms.tolist(), max_norm=4.0, shares=MLP), run


def exploding() -> Run:
    """No clipping; NaN at step 7, where the run was stopped."""
    history = history_of([*EXPLOSION, math.nan], shares=MLP)
    history.events.append(Event(7, "stop", "the gradient is not finite: training stopped"))
    return history, RunInfo("MLPRegressor", "NoClip()", "SGD(lr=0.01, momentum=0.9)", NUMELS, 0.042)


def bad_batch() -> Run:
    """Batch 20 of every 40 has a norm of 3,000, of which clipping leaves 4."""
    rng = np.random.default_rng(5)
    norms = np.exp(1.0 - 0.004 * np.arange(240) + 0.2 * rng.standard_normal(240))
    norms[20::40] = 3000.0
    losses = np.where(norms > 100, 1.2e5, norms**2 / 8)
    run = RunInfo("MLPRegressor", "NormClip(max_norm=4.0)", "Adam(lr=0.001)", NUMELS, 0.9)
    return history_of(norms.tolist(), max_norm=4.0, shares=MLP, losses=losses.tolist(), batches_per_epoch=40), run


def recurrent() -> Run:
    """60 parameters of five LSTM layers, two switches, three skipped steps, one dead and one vanishing parameter."""
    kinds = {"weight_ih_l0": 2.0, "weight_hh_l0": 9.0, "bias_ih_l0": 0.2, "bias_hh_l0": 0.2, "proj": 0.1, "norm": 0.05}
    shares = {
        f"encoder.layers.{layer}.{direction}.{kind}": share * 0.15 ** (4 - layer)
        for layer in range(5)
        for direction in ("lstm_forward", "lstm_backward")
        for kind, share in kinds.items()
    }
    shares = {name: share / sum(shares.values()) for name, share in shares.items()}
    shares["encoder.layers.0.lstm_forward.bias_ih_l0"] = 1e-12
    shares["encoder.layers.0.lstm_forward.bias_hh_l0"] = 0.0
    numels = {name: 262_144 if "weight" in name else 2_048 for name in shares}
    rng = np.random.default_rng(1)
    history, bad, records = History(), (2100, 2101, 3333), []
    for step in range(5000):
        norm = float(np.exp(2 + 0.5 * math.sin(step / 400) + 0.4 * rng.standard_normal()))
        norm *= 20 if rng.random() < 0.01 else 1
        limit = None if step < 1200 else 5.0 if step < 3000 else 1.0
        skipped = step in bad
        records.append(record(step, math.nan if skipped else norm, max_norm=limit, shares=shares, skipped=skipped))
    history.extend(records)
    for step in range(0, 5000, 500):
        history.measurements.add(Measurement(step, GATE_NORMS, _gates(shares, rng)))
    history.events.append(Event(1200, "switch", "NoClip() → NormClip(5.0): 3 spikes in 10 steps, norm 41"))
    history.events.append(Event(3000, "switch", "NormClip(5.0) → NormClip(1.0): 3 spikes in 10 steps, norm 87"))
    return history, RunInfo("SpeechEncoder", "NoClip()", "AdamW(lr=0.0003)", numels, 4213.0)


def _gates(shares: dict[str, float], rng: np.random.Generator) -> dict[str, list[float]]:
    """Norms of the gates of an LSTM, the forget gate's the largest."""
    recurrent = [name for name in shares if "_l0" in name]
    return {n: (math.sqrt(shares[n]) * np.array([1, 3, 2, 1.5]) * rng.uniform(1, 2, 4)).tolist() for n in recurrent}


def adversarial() -> Run:
    """Two optimizers that take turns; the second one's gradients are always clipped."""
    rng, history, records = np.random.default_rng(2), History(), []
    for step in range(0, 600, 2):
        norms = float(np.exp(rng.standard_normal())), float(8 * np.exp(0.2 * rng.standard_normal()))
        records += [
            record(step, norms[0], max_norm=3.0, optimizer=0, shares={"g.weight": 0.8, "g.bias": 0.2}),
            record(step + 1, norms[1], max_norm=3.0, optimizer=1, shares={"d.weight": 0.6, "d.bias": 0.4}),
        ]
    history.extend(records)
    return history, RunInfo("GAN", "NormClip(max_norm=3.0)", "Adam(lr=0.001), SGD(lr=0.01)", {}, 12.0)


def profile(step: int, norms: np.ndarray, *, cell: str = "RNN_TANH", denormal: float = 0.0, usual: float = math.nan):
    """What `TemporalGradientMonitor` would make of these norms."""
    return TemporalProfile.of_norms(
        step, "recurrent", torch.tensor(norms), cell=cell, denormal_fraction=denormal, usual_peak=usual
    )


def with_profiles(profiles: list[TemporalProfile], *, max_norm: float | None = None, model: str = "RNNModule") -> Run:
    """A quiet run of 300 steps in which these profiles were made."""
    history = history_of(np.exp(0.3 * np.random.default_rng(3).standard_normal(300)).tolist(), max_norm=max_norm)
    for one in profiles:
        history.measurements.add(one.to_measurement())
    strategy = "NoClip()" if max_norm is None else f"NormClip(max_norm={max_norm})"
    return history, RunInfo(model, strategy, "Adam(lr=0.001)", {}, 12.0)


LAGS = np.arange(100)


def grows_through_time() -> Run:
    """A ReLU network that explodes from the first profile on, without clipping."""
    ripple = 0.05 * np.random.default_rng(4).standard_normal(100)
    return with_profiles(
        [profile(step, np.exp((0.06 + step / 5000) * LAGS + ripple), cell="RNN_RELU") for step in (0, 100, 200)]
    )


def vanishes_through_time() -> Run:
    """A tanh network, measured once, that makes the CPU slow."""
    return with_profiles([profile(0, np.exp(-0.9 * LAGS), denormal=0.13)], max_norm=1.7)


def weak_rest_through_time() -> Run:
    """An LSTM that was healthy, and has learnt to look at the last steps and a little at all others."""
    norms = np.exp(-1.5 * LAGS) + 0.004 * np.exp(-0.02 * LAGS)
    return with_profiles(
        [profile(step, (np.exp(-0.01 * LAGS), norms)[step > 0], cell="LSTM") for step in (0, 100)], model="LSTMModule"
    )


def healthy_through_time() -> Run:
    """A GRU over 24 steps, a bar for two lags."""
    return with_profiles([profile(50, np.exp(-0.12 * LAGS[:24]), cell="GRU")], max_norm=1.7, model="GRUModule")


def overflows_through_time() -> Run:
    """Finite at first, then only near the end of the sequence."""
    grown = np.exp(2.0 * LAGS)
    return with_profiles([profile(0, grown), profile(100, np.where(LAGS < 60, grown, math.inf))])


def exploded_weights() -> Run:
    """Two tanh layers: the first has exploded, saturates, and passes back denormal numbers; the second is calm."""
    rng = np.random.default_rng(3)
    history = history_of(np.exp(rng.standard_normal(900)).tolist())
    names = ["rnn.weight_hh_l0", "rnn.weight_hh_l1"]
    for step, sigma, saturated in ((0, (1.02, 0.9), 0.0), (400, (41.0, 0.91), 0.4), (800, (557.0, 0.95), 0.83)):
        history.measurements.add(
            sample(step, "tanh", names, sigma, denormal=0.125, saturated_fraction=[saturated, 0.02])
        )
    return history, RunInfo("RNNModule", "NoClip()", "SGD(lr=1)", {}, 11.0)


def gates() -> Run:
    """A bidirectional LSTM of three layers, whose forget gates open: too many blocks to list."""
    rng = np.random.default_rng(4)
    history = history_of(np.exp(0.3 * rng.standard_normal(300)).tolist())
    names = [f"encoder.lstm.weight_hh_l{depth}{end}" for depth in range(3) for end in ("", "_reverse")]
    for step, factor, kept in ((0, 1.0, 0.5), (200, 1.5, 0.93)):
        sigma = (factor * (1.1 + 0.01 * rng.permutation(24))).tolist()
        means = [kept - 0.01 * i for i in range(6)]
        shares = {"forget_gate_mean": means, "forget_gate_max": [(1 + mean) / 2 for mean in means]}
        history.measurements.add(
            sample(
                step, "lstm", names, sigma, radius=0.6, saturated_gate_fraction=[0.01 * i for i in range(6)], **shares
            )
        )
    return history, RunInfo("Tagger", "NoClip()", "Adam(lr=0.001)", {}, 30.0)


COMPARISONS = {
    "study": lambda width: to_text(render_comparison(study(), title="mlp-regression"), width=width),
    "grid": lambda width: to_text(render_comparison(grid(), title="lengths"), width=width),
    "rates": lambda width: to_text(render_comparison(rates(), title="rates"), width=width),
    "tasks": lambda width: to_text(render_comparison(tasks(), title="architectures"), width=width),
    "lengths": lambda width: to_text(render_comparison(lengths(), title="temporal-order"), width=width),
    "remedies": lambda width: to_text(render_comparison(remedies(), title="remedies"), width=width),
}
_made = cache(lambda make: make())  # to be shown and not to be changed
TEXTS = {
    **{
        make.__name__: lambda width, make=make: to_text(render_report(*_made(make)), width=width)
        for make in (
            healthy,
            exploding,
            bad_batch,
            recurrent,
            adversarial,
            grows_through_time,
            vanishes_through_time,
            weak_rest_through_time,
            healthy_through_time,
            overflows_through_time,
            exploded_weights,
            gates,
        )
    },
    **COMPARISONS,
}

if __name__ == "__main__":
    EXPECTED.mkdir(exist_ok=True)
    for name, text in TEXTS.items():
        (EXPECTED / f"{name}.txt").write_text(text(100) + "\n", encoding="utf-8")
    for name, text in COMPARISONS.items():
        (EXPECTED / f"{name}-80.txt").write_text(text(80) + "\n", encoding="utf-8")
