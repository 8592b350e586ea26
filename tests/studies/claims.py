"""What each recurrent study has to show, as assertions about its results."""

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


def bits_of_each(runs: Runs) -> list[float]:
    """Bits per character; infinite for a run that diverged."""
    values = [run.metrics["test_bits_per_char"] for run in runs]
    return [float("inf") if value is None else value for value in values]


def bits(runs: Runs) -> float:
    return median(bits_of_each(runs))


def worst_bits(runs: Runs) -> float:
    return max(bits_of_each(runs))


def temporal_order(runs: Runs) -> None:
    """Without clipping no run is solved; with clipping, also together with Ω, nearly every run is."""
    for length in (50, 100):
        assert solved(of(runs, "none", length=length)) == 0
        assert solved(of(runs, "norm-1.0", length=length)) >= 4
    assert solved(of(runs, "norm-1.0+omega-4", length=50)) >= 4


def temporal_order_length(runs: Runs) -> None:
    """Clipping solves every length; without it, the longer ones fail."""
    assert all(solved(of(runs, "norm-1.0", length=length)) >= 4 for length in (50, 100, 150, 200))
    assert all(solved(of(runs, "none", length=length)) <= 2 for length in (150, 200))


def adding(runs: Runs) -> None:
    """Clipping solves the adding problem of 100 steps; without it, few runs do."""
    assert solved(of(runs, "norm-1.0")) >= 4
    assert solved(of(runs, "none")) <= 2


def lr_sweep(runs: Runs) -> None:
    """The largest rate at which four of five runs are solved is at least 30 times larger with clipping."""
    rates = sorted({float(run.axes["lr"]) for run in runs})
    works = {s: [lr for lr in rates if solved(of(runs, s, lr=lr)) >= 4] for s in ("none", "norm-1.0")}
    assert works["norm-1.0"][-1] >= 30 * works["none"][-1], works


def text(runs: Runs) -> None:
    """With clipping every seed reaches a good score; without it, the median is at least 1 bit worse."""
    for model, clipped, bar in (("rnn", "norm-0.5", 2.15), ("lstm", "norm-0.25", 1.95)):
        own = of(runs, clipped, model)
        assert all(run.metrics["test_bits_per_char"] <= bar for run in own)
        assert bits(of(runs, "none", model)) >= bits(own) + 1


def remedies(runs: Runs) -> None:
    """Clipping, LayerNorm and Adam help; penalties, orthogonal weights and shorter chunks do not.

    A remedy has to help with every seed, because some seeds do well by luck.
    """
    unclipped, clipped = bits(of(runs, "none")), bits(of(runs, "norm-0.5"))
    for remedy in ("norm-0.5", "value-0.1", "value-0.01", "layer-norm", "adam-0.002"):
        assert worst_bits(of(runs, remedy)) <= unclipped - 0.8, remedy
    for alone in ("l1-0.0001", "l2-0.001", "orthogonal", "chunk-16"):
        assert worst_bits(of(runs, alone)) >= clipped + 0.3, alone


def architectures(runs: Runs) -> None:
    """An LSTM remembers 100 steps if its forget gates start at log T, and not with torch's default."""
    assert solved(of(runs, "norm-1.0", "lstm", task="temporal-order")) == 0
    assert solved(of(runs, "norm-1.0", "lstm-forget-4.6", task="temporal-order")) >= 4


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


CLAIMS = {
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
