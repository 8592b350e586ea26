"""`on_solved`: how many runs each strategy solved, and where it works, in words."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, pairwise
from math import comb

from lightning_clip.reports.formats import listed, listed_briefly, literal, percent
from lightning_clip.studies.comparison.pivot import Pivot, Value, pivot, value_name
from lightning_clip.studies.comparison.standings import Standing, by_group

_NAMED = 4
_WORKS_FROM = 0.8
_CHANCE = 0.05
_RATES = {"lr", "learning_rate"}


def on_solved(rows: Sequence[Standing], *, within: Sequence[Standing]) -> list[str]:
    """State how many runs each strategy solved or, if the study has a numeric axis, at which values it works.

    A strategy works at a value if it solved at least 80% of its runs there.

    Args:
        rows: The standings of the runs that had a task to solve.
        within: All standings of the study.

    Returns:
        Sentences; none if no run had a task to solve.
    """
    if not rows:
        return []
    by_axis = pivot(rows)
    if by_axis is not None and by_axis.is_numeric:
        return [_on_windows(by_axis), *_on_chance(rows)]
    return [*_on_counts(rows, within), *_on_chance(rows)]


def chance_limit(runs: int) -> int | None:
    """Return the difference between two counts of solved runs that is always more than chance.

    The criterion is Fisher's exact test, two-sided, at 5%.

    Args:
        runs: The number of runs behind each count.

    Returns:
        The smallest such difference; `None` if even all against none may be chance.

    Example:
        >>> [chance_limit(runs) for runs in (3, 4, 5, 10)]
        [None, 4, 4, 6]
    """
    limits = [d for d in range(1, runs + 1) if all(_p_value(a, a - d, runs) < _CHANCE for a in range(d, runs + 1))]
    return min(limits, default=None)


def _p_value(solved: int, others: int, runs: int) -> float:
    both = solved + others
    ways = [comb(runs, k) * comb(runs, both - k) for k in range(max(0, both - runs), min(runs, both) + 1)]
    own = comb(runs, solved) * comb(runs, others)
    return sum(way for way in ways if way <= own) / sum(ways)


def _on_windows(by_axis: Pivot) -> str:
    working = {
        name: [value for value in by_axis.values if value in own and own[value].solved_fraction >= _WORKS_FROM]
        for name, own in by_axis.rows.items()
    }
    meaning = f"(at least {percent(_WORKS_FROM)} of runs solved)"
    if not any(working.values()):
        return f"No {by_axis.axis} works {meaning} with {listed_briefly(list(working), last='or')}."
    alike: dict[str, list[str]] = {}
    for name in sorted(working, key=lambda name: -len(working[name])):
        alike.setdefault(_where(by_axis, by_axis.rows[name], working[name]), []).append(name)
    (where, first), *others = alike.items()
    text = f"{listed_briefly(first)} work{'s' * (len(first) == 1)} {meaning} at {where}"
    text = ", ".join([text, *(f"{listed_briefly(names)} at {where}" for where, names in others)])
    return text + (_largest_rates(by_axis, working) if by_axis.axis.lower() in _RATES else "") + "."


def _where(by_axis: Pivot, own: Mapping[Value, Standing], working: Sequence[Value]) -> str:
    """The values at which a strategy works; neighbors among the tried values form a span."""
    if not working:
        return f"no {by_axis.axis}"
    if len(working) == len(by_axis.values):
        return f"every {by_axis.axis}"
    tried = [value for value in by_axis.values if value in own]
    places = [tried.index(value) for value in working]
    starts = [0, *(i + 1 for i, (a, b) in enumerate(pairwise(places)) if b > a + 1), len(places)]
    spans = [(tried[places[start]], tried[places[end - 1]]) for start, end in pairwise(starts)]
    words = [value_name(a) if a == b else f"{value_name(a)} to {value_name(b)}" for a, b in spans]
    text = f"{by_axis.axis} {listed(words, at_most=len(words))}"
    return text + f" ({'all' if len(tried) > 1 else 'the only one'} tried)" * (len(working) == len(tried))


def _largest_rates(by_axis: Pivot, working: Mapping[str, Sequence[Value]]) -> str:
    """How much larger the largest rate that works is, if there is one model and at least two such rates."""
    largest = {name: float(max(values)) for name, values in working.items() if values}
    models = {row.model for row in by_axis.standings}
    if len(models) > 1 or len(set(largest.values())) < 2:
        return ""
    high, low = max(largest, key=lambda n: largest[n]), min(largest, key=lambda n: largest[n])
    factor = f"{float(literal(largest[high] / largest[low])):,.10g}"
    at_least = "at least " if largest[high] == max(by_axis.values) else ""
    than = f" than with {low}" if len(largest) > 2 else ""
    return f": the largest rate that works is {at_least}{factor} times larger with {high}{than}"


def _on_counts(rows: Sequence[Standing], within: Sequence[Standing]) -> Iterator[str]:
    groups = by_group(rows)
    for own in groups[:_NAMED]:
        alike: dict[str, list[str]] = {}
        for row in sorted(own, key=lambda row: -row.solved_fraction):
            alike.setdefault(f"{row.solved} of {row.runs}", []).append(row.name)
        (most, first), *others = alike.items()
        parts = [f"{listed_briefly(first)} solved {most} runs", *(f"{listed_briefly(n)} {how}" for how, n in others)]
        yield (f"For {own[0].group_name}: " if len(by_group(within)) > 1 else "") + ", ".join(parts) + "."
    if len(groups) > _NAMED:
        yield f"See the table for the other {len(groups) - _NAMED}."


def _on_chance(rows: Sequence[Standing]) -> list[str]:
    """Which differences between counts may be chance, if there are any. Rows of an interrupted study do not count."""
    runs = max(row.runs for row in rows)
    whole = [row for row in rows if row.runs == runs]
    pairs = [pair for own in by_group(whole) for pair in combinations(own, 2)]
    apart = {abs((a.solved or 0) - (b.solved or 0)) for a, b in pairs} - {0}
    if not apart:
        return []
    if runs == 1:
        return ["One seed does not show whether that is more than chance."]
    limit = chance_limit(runs)
    if limit is None:
        return [f"{runs} seeds are too few to tell such differences from chance."]
    if min(apart) >= limit:
        return []
    return [f"With {runs} seeds, counts that differ by fewer than {limit} may differ by chance."]
