"""`conclusions`: what a comparison shows, in words: which runs diverged or died, and which strategy is best."""

from collections.abc import Sequence

from lightning_clip.reports.formats import count, counted, listed, listed_briefly, number
from lightning_clip.studies.comparison.metrics import is_higher_better, is_neither_better, main_metric, metric_title
from lightning_clip.studies.comparison.paired import compare_by_seed
from lightning_clip.studies.comparison.solved_conclusions import on_solved
from lightning_clip.studies.comparison.standings import Spread, Standing, by_group

_NAMED = 4
_BASELINE = "none"


def conclusions(rows: Sequence[Standing], metrics: Sequence[str]) -> list[str]:
    """State which strategies diverged, which solved the task, and which is best by the main metric.

    Args:
        rows: The standings.
        metrics: The names of their metrics.

    Returns:
        Sentences, each only if there is something to say. The main metric decides if there is no task to solve.
    """
    if not rows:
        return ["No run has finished."]
    solving = [row for row in rows if row.solved is not None]
    others = [row for row in rows if row.solved is None]
    main = main_metric(metrics)
    return [
        _on_divergence(rows),
        *_on_death(rows),
        *on_solved(solving, within=rows),
        *_on_metric(others, main, within=rows),
    ]


def _on_divergence(rows: Sequence[Standing]) -> str:
    by_name: dict[str, list[Standing]] = {}
    for row in rows:
        by_name.setdefault(row.name, []).append(row)
    diverged = {name: sum(row.diverged for row in own) for name, own in by_name.items()}
    runs = {name: sum(row.runs for row in own) for name, own in by_name.items()}
    lost = [name for name in by_name if diverged[name] == runs[name]]
    shaky = [name for name in by_name if 0 < diverged[name] < runs[name]]
    clean = [name for name in by_name if not diverged[name]]
    parts = []
    if lost:
        last_steps = [row.diverged_at[1] for name in lost for row in by_name[name] if row.diverged_at is not None]
        by = f", by step {count(max(last_steps))} at the latest" if last_steps else ""
        parts.append(f"every run of {listed(lost, at_most=_NAMED)} diverged{by}")
    parts += [f"{diverged[name]} of {runs[name]} runs of {name} diverged" for name in shaky[:_NAMED]]
    if len(shaky) > _NAMED:
        parts.append(f"so did some runs of {len(shaky) - _NAMED} others")
    if not parts:
        return "No run diverged."
    if clean:
        names = listed(clean, at_most=len(clean), last="or") if len(clean) <= _NAMED else f"the other {len(clean)}"
        parts.append(f"no run of {names} did")
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
    return [f"{listed_briefly(parts)} died: the network's outputs no longer depend on its inputs."]


def _on_metric(rows: Sequence[Standing], metric: str, *, within: Sequence[Standing]) -> list[str]:
    """Say which strategy is best by a metric, among those that never diverged, and whether the seeds settle it."""
    ranked = _ranked(rows, metric)
    if not ranked or is_neither_better(metric):
        return []
    if len(by_group(rows)) > 1:
        return [_on_groups(ranked, metric)]
    where = f"For {ranked[0][0].group_name}, the" if len(by_group(within)) > 1 else "The"
    return [
        f"{where} {_on_one_group(ranked[0], metric)}",
        *_on_pairs(ranked[0], metric),
        *_on_baseline(rows, ranked[0][:2], metric),
    ]


def _ranked(rows: Sequence[Standing], metric: str) -> list[list[Standing]]:
    """The rows without a diverged run, best first, by group."""
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
        ranges = "that" if len(close) == 1 else "those"
        return text + (
            f"its range, {own}, overlaps with {ranges} of {others}, so {first.runs} seeds do not settle which is best."
        )
    if len(ranked) > 2:
        return text + f"its range over {first.runs} seeds overlaps with no other."
    return text + f"their ranges over {first.runs} seeds do not overlap."


def _on_pairs(ranked: Sequence[Standing], metric: str) -> list[str]:
    """Compare the best two seed by seed."""
    if len(ranked) < 2 or ranked[0].runs < 2:
        return []
    first, second = ranked[:2]
    found = compare_by_seed(first.by_seed[metric], second.by_seed[metric])
    if found.pairs < 2:
        return []
    wins = found.pairs - found.lower if is_higher_better(metric) else found.lower
    chance = f"p = {found.p_value:.2g} by the signed-rank test"
    return [f"Seed by seed, {first.name} is ahead of {second.name} with {wins} of {found.pairs} ({chance})."]


def _on_baseline(rows: Sequence[Standing], named: Sequence[Standing], metric: str) -> list[str]:
    """The metric without any remedy, unless the first sentence names it."""
    row = next((row for row in rows if row.name == _BASELINE), None)
    if row is None or row in named or metric not in row.spreads:
        return []
    text, left = f"With {_BASELINE} it is {number(row.spreads[metric].median)}", row.runs - row.diverged
    text += f" ({_in_words(row.spreads[metric])})" if left > 1 else ""
    if not row.diverged:
        return [f"{text}."]
    which = f"over the {counted(left, 'run')} that" if left > 1 else "in the only run that"
    return [f"{text} {which} did not diverge."]


def _on_groups(ranked: Sequence[Sequence[Standing]], metric: str) -> str:
    wins: dict[str, list[str]] = {}
    for own in ranked:
        wins.setdefault(own[0].name, []).append(own[0].group_name)
    where = [f"for {listed_briefly(groups)}" for groups in wins.values()] if len(wins) > 1 else ["everywhere"]
    first, *others = zip(wins, where, strict=True)
    text = f"{first[0]} has the {_superlative(metric)} {first[1]}" + "".join(f", {name} {at}" for name, at in others)
    compared = [own for own in ranked if len(own) > 1]
    if not compared:
        return text + "."
    seeds = min(own[0].runs for own in compared)
    if seeds < 2:
        return text + "; one seed does not show whether that is more than chance."
    close = sum(bool(_overlapping(own, metric)) for own in compared)
    if not close:
        return text + f"; over {seeds} seeds, no other range overlaps with the best one."
    cases = "each case" if close == len(compared) else f"{close} of {len(compared)} cases"
    return text + f"; in {cases}, another range overlaps with the best one, so {seeds} seeds do not settle the order."


def _overlapping(ranked: Sequence[Standing], metric: str) -> list[str]:
    """The names of the rows whose range overlaps with that of the first row."""
    best = ranked[0].spreads[metric]
    return [row.name for row in ranked[1:] if row.spreads[metric].overlaps(best)]


def _in_words(spread: Spread) -> str:
    return f"{number(spread.min)} to {number(spread.max)}"


def _superlative(metric: str) -> str:
    return f"{'highest' if is_higher_better(metric) else 'lowest'} median {metric_title(metric)}"
