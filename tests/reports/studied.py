"""The results of studies that reports are tested on."""

from dataclasses import replace

from lightning_clip.studies.comparison.result import RunResult


def result(strategy: str, seed: int, test_mse: float | None, *, model: str = "mlp", **axes: float | str) -> RunResult:
    """The result of a run, which diverged if there is no test MSE."""
    diverged = test_mse is None
    return RunResult(
        model=model,
        strategy=strategy,
        seed=seed,
        diverged=diverged,
        diverged_at_step=3 + 2 * seed if diverged else None,
        steps=4 + 2 * seed if diverged else 1600,
        seconds=0.1 if diverged else 1.5 + 0.1 * seed,
        clipped_fraction=0.0 if strategy == "none" else 0.9 + 0.01 * seed,
        metrics={"train_mse": None if test_mse is None else test_mse / 8, "test_mse": test_mse},
        axes=axes,
    )


def study() -> list[RunResult]:
    """Four strategies with five seeds: one always diverges, one twice."""
    scores: dict[str, list[float | None]] = {
        "none": [None] * 5,
        "per-parameter-norm-1.0": [12.1, 18.0, 14.2, 15.5, 12.8],
        "value-5.0": [31.0, None, 161.0, None, 88.0],
        "norm-1.0": [15.1, 34.0, 22.0, 27.4, 19.9],
    }
    return [result(name, seed, score) for name, row in scores.items() for seed, score in enumerate(row)]


def grid() -> list[RunResult]:
    """Two strategies on two models at two lengths; each model has another best strategy."""
    return [
        result(
            strategy, seed, (2.0 if (strategy == "a") == (model == "rnn") else 3.0) + seed, model=model, length=length
        )
        for model in ("rnn", "lstm")
        for length in (50, 200)
        for strategy in ("a", "b")
        for seed in range(2)
    ]


def solving(
    strategy: str,
    seed: int,
    steps: int | None,
    *,
    model: str = "rnn",
    diverged_at_step: int | None = None,
    **axes: float | str,
) -> RunResult:
    """The result of a run that solved its task after `steps`; without `steps`, it did not."""
    is_lost = diverged_at_step is not None
    error = None if is_lost else 0.7 + 0.01 * seed if steps is None else 0.001 * (seed + 1)
    return RunResult(
        model=model,
        strategy=strategy,
        seed=seed,
        diverged=is_lost,
        diverged_at_step=diverged_at_step,
        steps=diverged_at_step or steps or 5000,
        seconds=0.01 * (diverged_at_step or steps or 5000),
        clipped_fraction=0.0 if strategy == "none" else 0.9 + 0.01 * seed,
        metrics={"solved": float(steps is not None), "steps_to_solve": steps, "test_error": error},
        axes=axes,
    )


def rates() -> list[RunResult]:
    """Nine learning rates: small ones work without clipping, and 1,000 times larger ones with it."""
    solved = {"none": (4, 5, 3, 0, 0, 0, 0, 0, 0), "norm-1.0": (0, 0, 0, 0, 0, 5, 5, 5, 0)}
    lost = {"none": (0, 0, 1, 3, 5, 5, 5, 5, 5), "norm-1.0": (0,) * 9}
    return [
        solving(
            strategy,
            seed,
            1250 + 250 * seed + 100 * place if seed < solved[strategy][place] else None,
            diverged_at_step=7 + 40 * seed if seed >= 5 - lost[strategy][place] else None,
            lr=lr,
        )
        for place, lr in enumerate((1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1))
        for strategy in ("none", "norm-1.0")
        for seed in range(5)
    ]


def tasks() -> list[RunResult]:
    """Seven models with one strategy, on a task to solve and on a task with only an error."""
    solved = {
        "rnn": 0,
        "lstm": 0,
        "lstm-forget-4.6": 5,
        "lstm-chrono": 4,
        "gru": 0,
        "gru-update-4.6": 5,
        "gru-chrono": 1,
    }
    first = [
        solving("norm-1.0", seed, 750 + 250 * seed + 10 * place if seed < count else None, model=model, task="order")
        for place, (model, count) in enumerate(solved.items())
        for seed in range(5)
    ]
    second = [
        replace(run, metrics={"solved": None, "steps_to_solve": None, "test_error": 0.1 + run.seed / 50 + place / 40})
        for place, model in enumerate(solved)
        for seed in range(5)
        for run in [solving("norm-1.0", seed, None, model=model, task="digits")]
    ]
    return first + second


def lengths() -> list[RunResult]:
    """Two lengths; one strategy is tried only at the shorter one."""
    steps = {(50, "none"): 0, (50, "norm-1.0"): 4, (50, "norm-1.0+omega-4"): 5, (100, "none"): 0, (100, "norm-1.0"): 5}
    return [
        solving(strategy, seed, 500 + 250 * seed if seed < solved else None, length=length)
        for (length, strategy), solved in steps.items()
        for seed in range(5)
    ]


def remedies() -> list[RunResult]:
    """Fourteen strategies on one text, of which several are close to the best."""
    bits = {
        "none": 3.95,
        "norm-0.5": 2.15,
        "norm-0.1": 2.4,
        "value-0.01": 2.2,
        "lr-0.33": 2.33,
        "lr-0.1": 2.9,
        "l2-0.001": 3.9,
        "orthogonal": 3.2,
        "orthogonal+norm-0.5": 2.02,
        "relu": None,
        "identity-relu+norm-0.5": 2.01,
        "layer-norm": 2.03,
        "batch-128": 3.1,
        "adam-0.002": 2.0,
    }
    return [
        RunResult(
            model="rnn",
            strategy=strategy,
            seed=seed,
            diverged=value is None or (strategy == "none" and seed == 1),
            diverged_at_step=60 + seed if value is None or (strategy == "none" and seed == 1) else None,
            steps=800,
            seconds=8.0 + seed,
            clipped_fraction=0.15 if "norm-0" in strategy or "value" in strategy else 0.0,
            metrics={
                "max_norm": 10.0 ** (seed + place % 4),
                "sigma_max": 1.5 + 0.25 * place,
                "test_bits_per_char": None if value is None else value + 0.02 * seed,
            },
            data="the text inside Python 3.11: 464,915 characters, sha256 " + "6b0f0a5d" * 8,
        )
        for place, (strategy, value) in enumerate(bits.items())
        for seed in range(3)
    ]
