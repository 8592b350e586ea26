"""`conclusions`: what a comparison shows, in words, from the numbers alone."""

from collections.abc import Sequence
from dataclasses import dataclass

from lightning_clip.reports.formats import count, listed, number
from lightning_clip.reports.standings import Group, Standing, is_higher_better, metric_title

_NAMED = 4


def conclusions(rows: Sequence[Standing], metrics: Sequence[str]) -> list[str]:
    """What a comparison shows: a sentence about divergence, and one about the main metric.

    The main metric is the last one of the test data, or the last one.

    Args:
        rows: The standings.
        metrics: Their metrics.

    Returns:
        Sentences; the second is left out where nothing can be compared.
    """
    if not rows:
        return ["No run has finished."]
    sentences = [_on_divergence(rows)]
    main = next((name for name in reversed(metrics) if "test" in name), metrics[-1] if metrics else "")
    ranked = _ranked(rows, main)
    if len({row.group for row in rows}) > 1 and ranked:
        sentences.append(_on_groups(ranked, main))
    elif ranked:
        sentences.append(_on_one_group(next(iter(ranked.values())), main))
    return sentences


@dataclass(frozen=True, slots=True)
class _Losses:
    strategy: str
    diverged: int
    runs: int
    last_step: int


def _on_divergence(rows: Sequence[Standing]) -> str:
    losses = [_losses(strategy, rows) for strategy in dict.fromkeys(row.strategy for row in rows)]
    lost = [loss for loss in losses if loss.diverged == loss.runs]
    shaky = [loss for loss in losses if 0 < loss.diverged < loss.runs]
    clean = [loss.strategy for loss in losses if not loss.diverged]
    parts = []
    if lost:
        step = max(loss.last_step for loss in lost)
        names = listed([loss.strategy for loss in lost], at_most=_NAMED)
        parts.append(f"every run of {names} diverged" + (f", by step {count(step)} at the latest" if step >= 0 else ""))
    parts += [f"{loss.diverged} of {loss.runs} runs of {loss.strategy} diverged" for loss in shaky[:_NAMED]]
    if len(shaky) > _NAMED:
        parts.append(f"so did some of {len(shaky) - _NAMED} others")
    if not parts:
        return "No run diverged."
    if clean:
        names = listed(clean, at_most=len(clean), last="or")
        parts.append(f"no run of {names} did" if len(clean) <= _NAMED else f"no run of the other {len(clean)} did")
    text = "; ".join(parts) + "."
    return text[0].upper() + text[1:]


def _losses(strategy: str, rows: Sequence[Standing]) -> _Losses:
    own = [row for row in rows if row.strategy == strategy]
    steps = [row.diverged_at[1] for row in own if row.diverged_at is not None]
    return _Losses(strategy, sum(row.diverged for row in own), sum(row.runs for row in own), max(steps, default=-1))


def _ranked(rows: Sequence[Standing], metric: str) -> dict[Group, list[Standing]]:
    """The rows that did not diverge at all, the best first, by model."""
    groups: dict[Group, list[Standing]] = {}
    for row in rows:
        if metric in row.spreads and not row.diverged:
            groups.setdefault(row.group, []).append(row)
    sign = -1 if is_higher_better(metric) else 1
    return {group: sorted(own, key=lambda row: sign * row.spreads[metric].median) for group, own in groups.items()}


def _on_one_group(ranked: Sequence[Standing], metric: str) -> str:
    first = ranked[0]
    text = f"The {_superlative(metric)} is {number(first.spreads[metric].median)}, by {first.strategy}"
    if len(ranked) == 1:
        return text + "."
    second = ranked[1]
    text += f", ahead of {second.strategy} with {number(second.spreads[metric].median)}; "
    if first.runs < 2:
        return text + "one seed does not show whether that is more than chance."
    if first.spreads[metric].overlaps(second.spreads[metric]):
        return text + f"their ranges overlap, so {first.runs} seeds do not settle the order."
    return text + f"their ranges over {first.runs} seeds do not overlap."


def _on_groups(ranked: dict[Group, list[Standing]], metric: str) -> str:
    wins: dict[str, list[str]] = {}
    for own in ranked.values():
        wins.setdefault(own[0].strategy, []).append(own[0].group_name)
    if len(wins) == 1:
        return f"The {_superlative(metric)} is by {next(iter(wins))} everywhere."
    won = "; ".join(f"by {strategy} for {listed(groups, at_most=_NAMED)}" for strategy, groups in wins.items())
    return f"The {_superlative(metric)} is {won}."


def _superlative(metric: str) -> str:
    return f"{'highest' if is_higher_better(metric) else 'lowest'} median {metric_title(metric)}"
