"""What each study has to show, as assertions about its results.

A run that diverges, or nearly does, amplifies the last bit: another CPU gives other numbers, and so do other seeds. So
no claim is about the median of such runs. A claim counts them, or compares their best with the worst of the others.
"""

from collections.abc import Sequence
from statistics import median

from lightning_clip.studies.comparison.result import RunResult

Runs = Sequence[RunResult]


def of(runs: Runs, strategy: str, model: str | None = None, **axes: float | str) -> list[RunResult]:
    """The runs of one strategy at some values of the axes."""
    own = [run for run in runs if run.strategy == strategy and model in (None, run.model)]
    found = [run for run in own if all(run.axes.get(name) == value for name, value in axes.items())]
    assert found, (strategy, model, axes)
    return found


def solved(runs: Runs) -> int:
    return sum(int(run.metrics["solved"]) for run in runs)


def solved_fraction(runs: Runs) -> float:
    return solved(runs) / len(runs)


def bits_of_each(runs: Runs) -> list[float]:
    """Bits per character; infinite for a run that diverged."""
    values = [run.metrics["test_bits_per_char"] for run in runs]
    return [float("inf") if value is None else value for value in values]


def bits(runs: Runs) -> float:
    return median(bits_of_each(runs))


def worst_bits(runs: Runs) -> float:
    return max(bits_of_each(runs))


def temporal_order(runs: Runs) -> None:
    """A plain RNN needs clipping, also together with Ω; an LSTM that starts with a long memory and a GRU do not."""
    for length in (50, 100):
        assert solved_fraction(of(runs, "none", "rnn", length=length)) <= 0.2
        assert solved_fraction(of(runs, "norm-1.0", "rnn", length=length)) >= 0.6
    assert solved_fraction(of(runs, "norm-1.0+omega-4", length=50)) >= 0.6
    for model in ("lstm", "gru"):
        for strategy in ("none", "norm-1.0"):
            assert solved_fraction(of(runs, strategy, model, length=50)) >= 0.6


def temporal_order_length(runs: Runs) -> None:
    """Clipping solves every length; without it, half of the runs of the longer ones fail."""
    assert all(solved_fraction(of(runs, "norm-1.0", length=length)) >= 0.8 for length in (50, 100, 150, 200))
    assert solved_fraction(of(runs, "none", length=150) + of(runs, "none", length=200)) <= 0.5


def adding(runs: Runs) -> None:
    """Clipping solves the adding problem of 100 steps; without it, few runs do."""
    assert solved_fraction(of(runs, "norm-1.0")) >= 0.8
    assert solved_fraction(of(runs, "none")) <= 0.4


def lr_sweep(runs: Runs) -> None:
    """The largest rate at which four of five runs are solved is at least 30 times larger with clipping."""
    works = {
        strategy: [
            lr
            for lr in sorted({float(run.axes["lr"]) for run in of(runs, strategy)})
            if solved_fraction(of(runs, strategy, lr=lr)) >= 0.8
        ]
        for strategy in ("none", "norm-1.0")
    }
    assert works["norm-1.0"][-1] >= 30 * works["none"][-1], works


def text(runs: Runs) -> None:
    """With clipping every seed reaches a good score, and without it none comes near the worst of them."""
    for model, clipped, bar in (("rnn", "norm-0.5", 2.15), ("lstm", "norm-0.25", 1.95)):
        worst = worst_bits(of(runs, clipped, model))
        assert worst <= bar
        assert min(bits_of_each(of(runs, "none", model))) >= worst + 0.25


def remedies(runs: Runs) -> None:
    """Clipping, LayerNorm and Adam help; penalties and orthogonal weights do not.

    A remedy has to help with every seed, because some seeds do well by luck. Shorter chunks help with most.
    """
    best_unclipped, worst_clipped = min(bits_of_each(of(runs, "none"))), worst_bits(of(runs, "norm-0.5"))
    for remedy in ("norm-0.5", "value-0.1", "value-0.01", "layer-norm", "adam-0.002"):
        assert worst_bits(of(runs, remedy)) <= best_unclipped - 0.1, remedy
    for alone in ("l1-0.0001", "l2-0.001", "orthogonal"):
        assert worst_bits(of(runs, alone)) >= worst_clipped + 0.15, alone


def architectures(runs: Runs) -> None:
    """An LSTM remembers 100 steps if its forget gates start at log T, and not with torch's default."""
    assert solved(of(runs, "norm-1.0", "lstm", task="temporal-order")) == 0
    assert solved_fraction(of(runs, "norm-1.0", "lstm-forget-4.6", task="temporal-order")) >= 0.8


def cliff(runs: Runs) -> None:
    """Clipped descents end in the valley, with steps of at most rate times threshold; few others do."""
    clipped = of(runs, "norm-1.0")
    assert solved(clipped) >= 0.96 * len(clipped)
    assert solved(of(runs, "none")) <= 0.4 * len(clipped)
    assert all(run.metrics["longest_step"] <= 0.1 + 1e-6 for run in clipped)


def tbptt_bias(runs: Runs) -> None:
    """With every seed, longer chunks have a smaller error and keep more memory: so much per step of a chunk."""
    chunks = (1, 4, 16, 64, 256)
    for model in ("rnn", "lstm", "rnn-trained", "lstm-trained"):
        by_chunk = [of(runs, "none", model, chunk=chunk) for chunk in chunks]
        for same_seed in zip(*by_chunk, strict=True):
            errors = [run.metrics["relative_error"] for run in same_seed]
            assert errors == sorted(errors, reverse=True), (model, errors)
        sizes = [own[0].metrics["saved_bytes"] for own in by_chunk]
        assert all(run.metrics["saved_bytes_long"] == run.metrics["saved_bytes"] for own in by_chunk for run in own)
        per_step = (sizes[-1] - sizes[1]) / (chunks[-1] - chunks[1])
        for chunk, size in zip(chunks[1:], sizes[1:], strict=True):
            assert abs(sizes[1] + per_step * (chunk - chunks[1]) - size) < 0.01 * size
    for model in ("rnn", "lstm"):
        assert all(run.metrics["cosine"] > 0.98 for run in of(runs, "none", model, chunk=16))


def flow_through_time(runs: Runs) -> None:
    """One network explodes, one vanishes, one does neither; the monitor is exact to 0.005 per step."""
    assert all(run.metrics["difference"] < 0.005 for run in runs)
    assert all(run.metrics["growth_rate"] > 0.02 for run in of(runs, "none", "rnn-exploding"))
    assert all(run.metrics["horizon"] < 25 for run in of(runs, "none", "rnn-vanishing"))
    assert all(run.metrics["growth_rate"] < 0.02 for run in of(runs, "none", "lstm"))
    assert all(run.metrics["horizon"] >= 25 for run in of(runs, "none", "lstm"))


FIRST_EPOCH = 16
"""Optimizer steps of the first epoch of the regression network."""


def errors(runs: Runs) -> list[float]:
    """Test MSE of each run; infinite for a run that diverged. The variance of the targets is about 20,000."""
    return [float("inf") if run.metrics["test_mse"] is None else run.metrics["test_mse"] for run in runs]


def is_lost_at_once(runs: Runs) -> bool:
    return all(run.diverged and run.diverged_at_step <= FIRST_EPOCH for run in runs)


def mlp_regression(runs: Runs) -> None:
    """Without clipping every run diverges in its first epoch; with it, every run explains 95% of the variance."""
    assert is_lost_at_once(of(runs, "none"))
    for strategy in ("per-parameter-norm-1.0", "value-5.0", "norm-1.0"):
        assert max(errors(of(runs, strategy))) <= 1000, strategy


def mlp_strategies(runs: Runs) -> None:
    """Fixed limits and the recommended adaptive rule learn; rules that need a healthy start are lost with this one."""
    for strategy in ("norm-1.0", "per-parameter-norm-1.0", "group-rms-0.1", "per-parameter-ratio-0.3", "value-5.0"):
        assert max(errors(of(runs, strategy, "mlp"))) <= 1000, strategy
    for strategy in ("ema-ratio-2.0", "normalize-ada-gn", "spectral-1.0", "chain", "tightest"):
        assert max(errors(of(runs, strategy, "mlp"))) <= 1000, strategy
    for strategy in ("none", "quantile-0.9", "z-2.5", "robust-3", "spike-5000", "coordinate-1.0", "skip-spikes"):
        assert is_lost_at_once(of(runs, strategy, "mlp")), strategy
    for strategy in ("auto-10", "ada-gc", "group-ema", "growth-limit-1.01", "adaptive-max", "adaptive-spectral"):
        own = of(runs, strategy, "mlp")
        assert not any(run.diverged for run in own), strategy
        assert min(errors(own)) >= 5000, strategy
    unclipped = min(errors(of(runs, "none", "mlp-adam")))
    for strategy in ("norm-1.0", "ema-ratio-2.0", "update-rms-1.0"):
        assert max(errors(of(runs, strategy, "mlp-adam"))) < unclipped, strategy


def mlp_thresholds(runs: Runs) -> None:
    """Every limit keeps every run finite, but one that is far too small or too large learns worse."""
    assert is_lost_at_once(of(runs, "none"))
    assert not any(run.diverged for run in runs if run.strategy != "none")
    for good in ("norm-5", "norm-10", "value-0.1", "value-0.5", "value-5+norm-5"):
        assert max(errors(of(runs, good))) <= 200, good
    for bad in ("norm-0.1", "norm-100", "value-50"):
        assert min(errors(of(runs, bad))) > max(errors(of(runs, "norm-5"))), bad
    assert min(errors(of(runs, "norm-0.1"))) >= 5000


def relative_errors(runs: Runs) -> list[float]:
    """Test MSE over the variance of each run; infinite for a run that diverged."""
    values = [run.metrics["test_relative_mse"] for run in runs]
    return [float("inf") if value is None else value for value in values]


def mlp_remedies(runs: Runs) -> None:
    """Clipping, scaled targets, small rates and a linear model learn; with most others a run diverges or dies."""
    for remedy in (
        "norm-1.0",
        "value-5.0",
        "ema-ratio",
        "standardized",
        "lr-0.001",
        "lr-0.0001",
        "linear",
        "adam-0.01",
    ):
        assert max(relative_errors(of(runs, remedy))) <= 0.03, remedy
    for squashing in ("tanh", "sigmoid"):
        assert min(relative_errors(of(runs, squashing))) >= 0.03, squashing
        assert not any(run.diverged for run in of(runs, squashing)), squashing
    assert is_lost_at_once(of(runs, "none"))
    for useless in ("batch-16", "batch-norm", "leaky-relu", "rrelu", "xavier", "he-normal", "orthogonal", "l1-0.01"):
        assert min(relative_errors(of(runs, useless))) >= 0.9, useless
    for useless in ("l2-0.01", "two-layers", "residual"):
        assert min(relative_errors(of(runs, useless))) >= 0.9, useless
    same = [(a.steps, a.metrics) == (b.steps, b.metrics) for a, b in zip(of(runs, "none"), of(runs, "he"), strict=True)]
    assert all(same)


def mlp_diabetes(runs: Runs) -> None:
    """On raw targets, rate times threshold decides, and large rates need clipping; on scaled targets, few runs do."""
    for lr in (0.01, 0.1):
        assert all(run.diverged for run in of(runs, "none", target="raw", lr=lr))
    assert not any(run.diverged for run in runs if run.strategy != "none")
    for strategy, lr in (("norm-10", 0.001), ("norm-1", 0.01), ("norm-0.1", 0.1)):
        good = relative_errors(of(runs, strategy, target="raw", lr=lr))
        assert max(good) <= 0.7, strategy
        assert min(relative_errors(of(runs, strategy, target="raw", lr=lr / 10))) >= 1.5, strategy
    assert max(relative_errors(of(runs, "none", target="standardized", lr=0.001))) <= 0.7


CLAIMS = {
    "mlp-diabetes": mlp_diabetes,
    "mlp-thresholds": mlp_thresholds,
    "mlp-remedies": mlp_remedies,
    "mlp-regression": mlp_regression,
    "mlp-strategies": mlp_strategies,
    "rnn-temporal-order": temporal_order,
    "rnn-temporal-order-length": temporal_order_length,
    "rnn-adding": adding,
    "rnn-lr-sweep": lr_sweep,
    "rnn-text": text,
    "rnn-remedies": remedies,
    "rnn-architectures": architectures,
    "cliff": cliff,
    "tbptt-bias": tbptt_bias,
    "gradient-flow": flow_through_time,
}
