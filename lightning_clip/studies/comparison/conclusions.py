"""`conclusions`: what a comparison shows, in words, from the numbers alone."""

from collections.abc import Sequence
from dataclasses import dataclass

from lightning_clip.reports.formats import count, listed, listed_briefly
from lightning_clip.studies.comparison.metric_conclusions import on_metric
from lightning_clip.studies.comparison.metrics import main_metric
from lightning_clip.studies.comparison.solved_conclusions import on_solved
from lightning_clip.studies.comparison.standings import Standing

_NAMED = 4


def conclusions(rows: Sequence[Standing], metrics: Sequence[str]) -> list[str]:
    """What a comparison shows: who diverged, who solved the task where, and who is best by the main metric.

    Args:
        rows: The standings.
        metrics: Their metrics.

    Returns:
        Sentences; what nothing can be said about is left out. The main metric decides where no task can be solved.
    """
    if not rows:
        return ["No run has finished."]
    asked = [row for row in rows if row.solved is not None]
    others = [row for row in rows if row.solved is None]
    main = main_metric(metrics)
    return [
        _on_divergence(rows),
        *_on_death(rows),
        *on_solved(asked, within=rows),
        *on_metric(others, main, within=rows),
    ]


@dataclass(frozen=True, slots=True)
class _Losses:
    name: str
    diverged: int
    runs: int
    last_step: int


def _on_divergence(rows: Sequence[Standing]) -> str:
    losses = [_losses(name, rows) for name in dict.fromkeys(row.name for row in rows)]
    lost = [loss for loss in losses if loss.diverged == loss.runs]
    shaky = [loss for loss in losses if 0 < loss.diverged < loss.runs]
    clean = [loss.name for loss in losses if not loss.diverged]
    parts = []
    if lost:
        step = max(loss.last_step for loss in lost)
        names = listed([loss.name for loss in lost], at_most=_NAMED)
        parts.append(f"every run of {names} diverged" + (f", by step {count(step)} at the latest" if step >= 0 else ""))
    parts += [f"{loss.diverged} of {loss.runs} runs of {loss.name} diverged" for loss in shaky[:_NAMED]]
    if len(shaky) > _NAMED:
        parts.append(f"so did some of {len(shaky) - _NAMED} others")
    if not parts:
        return "No run diverged."
    if clean:
        names = listed(clean, at_most=len(clean), last="or")
        parts.append(f"no run of {names} did" if len(clean) <= _NAMED else f"no run of the other {len(clean)} did")
    text = "; ".join(parts) + "."
    return text[0].upper() + text[1:]


def _on_death(rows: Sequence[Standing]) -> list[str]:
    dead: dict[str, list[int]] = {}
    for row in rows:
        dead.setdefault(row.name, [0, 0])
        dead[row.name] = [dead[row.name][0] + row.dead, dead[row.name][1] + row.runs]
    parts = [f"{died} of {runs} runs of {name}" for name, (died, runs) in dead.items() if died]
    if not parts:
        return []
    return [f"{listed_briefly(parts)} died: the outputs of the network no longer depend on its inputs."]


def _losses(name: str, rows: Sequence[Standing]) -> _Losses:
    own = [row for row in rows if row.name == name]
    steps = [row.diverged_at[1] for row in own if row.diverged_at is not None]
    return _Losses(name, sum(row.diverged for row in own), sum(row.runs for row in own), max(steps, default=-1))
