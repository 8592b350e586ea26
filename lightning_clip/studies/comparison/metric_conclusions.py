"""`on_metric`: which strategy is the best by a metric, in words, and whether the order is settled."""

from collections.abc import Sequence

from lightning_clip.reports.formats import counted, listed_briefly, number
from lightning_clip.studies.comparison.metrics import is_higher_better, is_neither_better, metric_title
from lightning_clip.studies.comparison.standings import Spread, Standing, by_group

_BASELINE = "none"


def on_metric(rows: Sequence[Standing], metric: str, *, within: Sequence[Standing]) -> list[str]:
    """Which strategy is the best by a metric, among those that did not diverge.

    Args:
        rows: The standings.
        metric: The metric.
        within: All standings of the study.

    Returns:
        Sentences; none where nothing can be compared, or the metric only describes a run.
    """
    ranked = _ranked(rows, metric)
    if not ranked or is_neither_better(metric):
        return []
    if len(by_group(rows)) > 1:
        return [_on_groups(ranked, metric)]
    where = f"For {ranked[0][0].group_name}, the" if len(by_group(within)) > 1 else "The"
    return [f"{where} {_on_one_group(ranked[0], metric)}", *_on_baseline(rows, ranked[0][:2], metric)]


def _ranked(rows: Sequence[Standing], metric: str) -> list[list[Standing]]:
    """The rows that did not diverge at all, the best first, by group."""
    sign = -1 if is_higher_better(metric) else 1
    sound = [row for row in rows if metric in row.spreads and not row.diverged]
    return [sorted(own, key=lambda row: sign * row.spreads[metric].median) for own in by_group(sound)]


def _on_one_group(ranked: Sequence[Standing], metric: str) -> str:
    first = ranked[0]
    text = f"{_superlative(metric)} is {number(first.spreads[metric].median)}, by {first.name}"
    if len(ranked) == 1:
        return text + "."
    second = ranked[1]
    text += f", ahead of {second.name} with {number(second.spreads[metric].median)}; "
    if first.runs < 2:
        return text + "one seed does not show whether that is more than chance."
    close = _overlapping(ranked, metric)
    if close == [second.name]:
        return text + f"their ranges overlap, so {first.runs} seeds do not settle the order."
    if close:
        own, others = _in_words(first.spreads[metric]), listed_briefly(close)
        text += f"its range, {own}, overlaps with those of {others}, so {first.runs} seeds do not settle who is first."
        return text
    if len(ranked) > 2:
        return text + f"its range over {first.runs} seeds overlaps with no other."
    return text + f"their ranges over {first.runs} seeds do not overlap."


def _on_baseline(rows: Sequence[Standing], named: Sequence[Standing], metric: str) -> list[str]:
    """How it is without a remedy, where that is not among the first two."""
    row = next((row for row in rows if row.name == _BASELINE), None)
    if row is None or row in named or metric not in row.spreads:
        return []
    text, left = f"With {_BASELINE} it is {number(row.spreads[metric].median)}", row.runs - row.diverged
    text += f" ({_in_words(row.spreads[metric])})" if left > 1 else ""
    if not row.diverged:
        return [f"{text}."]
    return [f"{text} over the {counted(left, 'run')} that did not diverge." if left > 1 else f"{text} in the run left."]


def _on_groups(ranked: Sequence[Sequence[Standing]], metric: str) -> str:
    wins: dict[str, list[str]] = {}
    for own in ranked:
        wins.setdefault(own[0].name, []).append(own[0].group_name)
    if len(wins) == 1:
        text = f"The {_superlative(metric)} is by {next(iter(wins))} everywhere"
    else:
        won = "; ".join(f"by {name} for {listed_briefly(groups)}" for name, groups in wins.items())
        text = f"The {_superlative(metric)} is {won}"
    compared = [own for own in ranked if len(own) > 1]
    if not compared:
        return text + "."
    seeds = min(own[0].runs for own in compared)
    if seeds < 2:
        return text + "; one seed does not show whether that is more than chance."
    close = sum(bool(_overlapping(own, metric)) for own in compared)
    if not close:
        return text + f"; no other range over {seeds} seeds overlaps."
    cases = "each case" if close == len(compared) else f"{close} of {len(compared)} cases"
    return text + f"; in {cases} another range overlaps, so {seeds} seeds do not settle who is first there."


def _overlapping(ranked: Sequence[Standing], metric: str) -> list[str]:
    """Whose ranges have values in common with the range of the first."""
    best = ranked[0].spreads[metric]
    return [row.name for row in ranked[1:] if row.spreads[metric].overlaps(best)]


def _in_words(spread: Spread) -> str:
    return f"{number(spread.min)} to {number(spread.max)}"


def _superlative(metric: str) -> str:
    return f"{'highest' if is_higher_better(metric) else 'lowest'} median {metric_title(metric)}"
