"""Clip, record and report in the Trainer, compared with its own clipping: `python benchmarks/trainer.py`."""

import tempfile
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from fits import Clips, Fitted, LogsNorms, LogsTotal, Manual, SmallLSTM, WithAutoclip, acted, fit, quiet, rounds_of
from measuring import Table, duration, median, ratio, spread, verdict
from parameter_sets import WORDS, WordLSTM, mlp
from torch import Tensor, nn

from lightning_clip import (
    AutoClip,
    BadStepCapture,
    GradientClipping,
    GradientMonitor,
    JsonlSink,
    NormClip,
    RecurrentSpectrumMonitor,
    RichGradientReport,
    TemporalGradientMonitor,
    UpdateMonitor,
    ZClip,
)

NOTES = (
    "A time is that of a whole fit after its first 5 steps, including the report and closing the record, divided by "
    "the number of steps. A round is one fit of each side; they alternate and swap order. Unless a row says otherwise, "
    "the other side is `Trainer(gradient_clip_val=1.0)`, in manual optimization `clip_gradients`. `acts` is the share "
    "of our steps at which the limit acted.",
    "`mlp` is the network of the built-in study (20 → 25 → 1, 32 rows). `small LSTM` has 32 units and reads 20 time "
    "steps. `20 M LSTM` reads 4 rows of 20 words: the smaller the batch, the harder the comparison.",
    "On the MLP, a whole step of Lightning takes well under a millisecond, and no memory traffic hides what is added. "
    "The row of a callback that does nothing is the floor of any callback: Lightning calls each at six hooks per step. "
    "That of three lines that call `clip_grad_norm_` and record nothing is the floor of one that clips, and leaves "
    "the targets a few hundredths for everything else: names, norms by parameter, a decision, a record and statistics. "
    "Rows of the packages `zclip` and `autoclip` are there where these are installed (`pip install zclip autoclip`).",
    "A report is printed once per fit, which takes as long after 500 steps as after many more. The "
    "difference between the rows with and without it is its share of these 500 steps.",
    "Where a row misses its target, what is left is Python: about 200 calls per step, none of which takes more than a "
    "tenth. What helped: totals of many steps at once, factors that stay numbers, names that are looked up once, "
    "decisions on numbers of numpy. What did not: reading all steps as columns, one tensor for all factors of 1, fewer "
    "hooks (Lightning calls them all). What was left out on purpose: passing over Lightning's own clipping call, which "
    "profilers and subclasses expect, and recording less.",
    "Lightning documents `self.log_dict(grad_norm(self, norm_type=2))` in `on_before_optimizer_step`. The last rows "
    "compare what each method adds to a fit without monitoring, with 100 parameters.",
)


Sides = Mapping[str, Callable[[], float]]


def ours_and_trainer(
    module: Fitted, batch: tuple[Tensor, Tensor], steps: int, callbacks: Callable[[], list[pl.Callback]]
) -> dict[str, Callable[[], float]]:
    """Return a fit with callbacks, and one with the Trainer's own clipping or the same by hand."""
    own = Manual(module.net, module.loss, clips=True) if isinstance(module, Manual) else module
    options: dict[str, Any] = {} if isinstance(module, Manual) else {"gradient_clip_val": 1.0}
    return {
        "ours": lambda: fit(module, batch, steps, callbacks()),
        "other": lambda: fit(own, batch, steps, [], **options),
    }


def peers(module: Fitted, batch: tuple[Tensor, Tensor], steps: int) -> dict[str, tuple[Sides, float | None]]:
    """Return the packages of other authors that are installed, each beside ours, with the bound on the ratio."""
    found: dict[str, tuple[Sides, float | None]] = {}
    if find_spec("zclip"):
        import zclip

        found["mlp: ZClip / the package zclip"] = (
            {
                "ours": lambda: fit(module, batch, steps, [GradientClipping(ZClip(max_norm=1.0))]),
                "other": lambda: fit(module, batch, steps, [zclip.ZClipLightningCallback()]),
            },
            None,
        )
    if find_spec("autoclip"):
        found["mlp: AutoClip / the package autoclip"] = (
            {
                "ours": lambda: fit(module, batch, steps, [GradientClipping(AutoClip(90.0))]),
                "other": lambda: fit(WithAutoclip(module.net, module.loss), batch, steps, []),
            },
            None,
        )
    return found


def measure(
    *, rounds: int = 7, lstm_rounds: int = 4, mlp_steps: int = 500, lstm_steps: int = 28, watched_steps: int = 100
) -> Table:
    """Return the table.

    Args:
        rounds: The number of fits per side.
        lstm_rounds: The number of fits per side of the large LSTM.
        mlp_steps: The number of steps per fit of the MLP; half as many of the small LSTM.
        lstm_steps: The number of steps per fit of the large LSTM.
        watched_steps: The number of steps per fit with 100 parameters.
    """
    quiet()
    table = Table("Trainer", ("run", "ours", "other", "ours / other", "target", "acts"), notes=NOTES)
    words = torch.randint(WORDS, (20, 4)), torch.randint(WORDS, (20, 4))
    rows, sequences = (torch.randn(32, 20), torch.randn(32, 1)), (torch.randn(32, 20, 8), torch.randn(32, 1))

    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "run.jsonl"

        def recorded() -> list[pl.Callback]:
            record.unlink(missing_ok=True)
            return [GradientClipping(AutoClip(), sinks=[JsonlSink(record)]), RichGradientReport()]

        def unreported() -> list[pl.Callback]:
            return recorded()[:1]

        def monitored() -> list[pl.Callback]:
            record.unlink(missing_ok=True)
            return [GradientMonitor(sinks=[JsonlSink(record)])]

        mse = nn.functional.mse_loss
        small, by_hand, lstm = Fitted(mlp(), mse), Manual(mlp(), mse), Fitted(SmallLSTM(), mse)
        large = Fitted(WordLSTM(), _of_words)
        sides: dict[str, tuple[Sides, float | None]] = {
            "mlp: AutoClip + JSONL + report": (ours_and_trainer(small, rows, mlp_steps, recorded), 1.12),
            "mlp: AutoClip + JSONL": (ours_and_trainer(small, rows, mlp_steps, unreported), None),
            "mlp: NormClip": (
                ours_and_trainer(small, rows, mlp_steps, lambda: [GradientClipping(NormClip(1.0))]),
                1.06,
            ),
            "mlp: ZClip": (ours_and_trainer(small, rows, mlp_steps, lambda: [GradientClipping(ZClip())]), 1.12),
            "mlp: GradientMonitor": (ours_and_trainer(small, rows, mlp_steps, lambda: [GradientMonitor()]), 1.05),
            "mlp: a callback that does nothing": (
                ours_and_trainer(small, rows, mlp_steps, lambda: [pl.Callback()]),
                None,
            ),
            "mlp: a callback that calls clip_grad_norm_": (
                ours_and_trainer(small, rows, mlp_steps, lambda: [Clips()]),
                None,
            ),
            "mlp, manual: NormClip": (
                ours_and_trainer(by_hand, rows, mlp_steps, lambda: [GradientClipping(NormClip(1.0))]),
                None,
            ),
            **peers(small, rows, mlp_steps),
            "small LSTM: AutoClip + JSONL + report": (
                ours_and_trainer(lstm, sequences, mlp_steps // 2, recorded),
                1.05,
            ),
            **{
                f"small LSTM: {type(make()).__name__} / without": (
                    {
                        "ours": lambda make=make: fit(lstm, sequences, mlp_steps // 2, [GradientMonitor(), make()]),
                        "other": lambda: fit(lstm, sequences, mlp_steps // 2, [GradientMonitor()]),
                    },
                    1.05,
                )
                for make in (TemporalGradientMonitor, RecurrentSpectrumMonitor, UpdateMonitor)
            },
            "small LSTM: BadStepCapture, nothing happens / without": (
                {
                    "ours": lambda: fit(lstm, sequences, mlp_steps // 2, [GradientMonitor(), BadStepCapture()]),
                    "other": lambda: fit(lstm, sequences, mlp_steps // 2, [GradientMonitor()]),
                },
                1.02,
            ),
            "20 M LSTM: AutoClip + JSONL + report": (ours_and_trainer(large, words, lstm_steps, recorded), 1.02),
        }
        for name, (fits, target) in sides.items():
            acted.clear()
            times = rounds_of(fits, lstm_rounds if name.startswith("20 M") else rounds)
            value, shown = ratio(times, "ours", "other"), [duration(median(one)) for one in times.values()]
            cell = f"{value:.3f} [{spread(times, 'ours', 'other')}]"
            table.add(name, *shown, cell, verdict(value, at_most=target) if target else "", _share())

        net = nn.Sequential(*(nn.Linear(20, 20) for _ in range(50)))
        wide = torch.randn(32, 20), torch.randn(32, 20)
        plain = Fitted(net, mse)
        times = rounds_of(
            {
                "nothing": lambda: fit(plain, wide, watched_steps, []),
                "ours": lambda: fit(plain, wide, watched_steps, monitored()),
                "all": lambda: fit(LogsNorms(net, mse), wide, watched_steps, []),
                "total": lambda: fit(LogsTotal(net, mse), wide, watched_steps, []),
            },
            rounds,
        )
        ours, every, total = (median(times[name]) - median(times["nothing"]) for name in ("ours", "all", "total"))
        row = "added by GradientMonitor + JSONL, by log_dict(grad_norm(…)); other / ours"
        value = every / max(ours, 1e-9)
        table.add(row, duration(ours), duration(every), f"{value:.1f}", verdict(value, at_least=10), "")
        row = "added by GradientMonitor + JSONL, by log of one total norm; other / ours"
        table.add(row, duration(ours), duration(total), f"{total / max(ours, 1e-9):.1f}", "", "")
    return table


def _share() -> str:
    """Return the share of the steps at which our limit acted, as text."""
    return f"{100 * median(acted):.0f}%" if acted else ""


def _of_words(scores: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.cross_entropy(scores.flatten(0, 1), targets.flatten())


if __name__ == "__main__":
    torch.set_num_threads(1)
    measure().show()
