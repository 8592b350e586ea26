"""Each built-in study in a form as small as possible that still decides its claims, to be run under a perturbation.

What a claim does not read is left out: other strategies, models and settings, and some of the seeds.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from lightning_clip.studies import Study, load_study

Keep = Callable[[str, Mapping[str, Any]], bool]
"""Whether a strategy is needed at the axes of a setting."""


def narrowed(study: Study, *, models: Collection[str] = (), keep: Keep = lambda strategy, axes: True) -> Study:
    """The study with some models only, and at each setting only the strategies that are needed there."""
    settings = []
    for setting in study.settings or [{}]:
        axes = setting.get("axes", {})
        allowed = setting.get("strategies", study.strategies)
        strategies = [name for name in allowed if keep(name, axes)]
        own = [name for name in setting.get("models", study.models) if not models or name in models]
        if strategies and own:
            settings.append({**setting, "strategies": strategies, "models": own})
    return replace(study, settings=settings)


def with_rates_that_decide(strategy: str, axes: Mapping[str, Any]) -> bool:
    """Without clipping, all rates but the smallest; with clipping, those at which it is expected to work."""
    lr = float(axes["lr"])
    return lr >= 0.003 if strategy == "norm-1.0" else lr >= 0.00003


def small_form(name: str) -> Study:
    """The small form of a built-in study."""
    study = replace(load_study(name), seeds=SEEDS[name])
    if name == "rnn-lr-sweep":
        return narrowed(study, keep=with_rates_that_decide)
    if name == "rnn-remedies":
        return narrowed(study, keep=lambda strategy, axes: strategy in REMEDIES)
    if name == "rnn-architectures":
        return narrowed(replace(study, settings=study.settings[:1]), models=("lstm", "lstm-forget-4.6"))
    if name == "mlp-strategies":
        return replace(study, grid={**study.grid, "mlp": [own for own in study.grid["mlp"] if own not in NO_CLAIM]})
    return study


SEEDS = {
    "mlp-regression": 5,
    "mlp-strategies": 1,
    "mlp-thresholds": 1,
    "mlp-remedies": 2,
    "mlp-diabetes": 2,
    "rnn-temporal-order": 3,
    "rnn-temporal-order-length": 2,
    "rnn-adding": 3,
    "rnn-lr-sweep": 2,
    "rnn-text": 2,
    "rnn-remedies": 2,
    "rnn-architectures": 2,
    "cliff": 50,
    "tbptt-bias": 2,
    "gradient-flow": 5,
}
"""As many as the study has where that is cheap."""

REMEDIES = (
    "none",
    "norm-0.5",
    "value-0.1",
    "value-0.01",
    "layer-norm",
    "adam-0.002",
    "l1-0.0001",
    "l2-0.001",
    "orthogonal",
)
"""Rows of `rnn-remedies` that the claim reads."""

NO_CLAIM = (
    "agc-0.01",
    "soft-1.0",
    "normalize-1.0",
    "auto-paper",
    "skip-above-1000",
    "schedule",
    "threshold-cosine",
    "update-rms-1.0",
)
"""Rows of `mlp-strategies` that the claim does not read."""
