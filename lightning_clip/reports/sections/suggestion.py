"""The suggested threshold: the distribution of the norms, the rules of thumb, the groups, and the lines to paste."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from rich.console import RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.text import Text

from lightning_clip.reports.formats import DASH, bar, counted, number, percent
from lightning_clip.reports.sections.tables import NamedTable, headline, pairs
from lightning_clip.reports.suggestion import GroupNorms, Suggestion
from lightning_clip.reports.text import Report

_BINS = 8
_BAR_WIDTH = 30
_FEW_STEPS = 50


def suggested(suggestions: Sequence[Suggestion]) -> Report:
    """What was measured and what it suggests.

    Args:
        suggestions: One for each optimizer.
    """
    parts: list[RenderableType] = []
    for one in suggestions:
        title = f"Threshold: {one.optimizer}" if one.optimizer else "Threshold"
        parts.append(Rule(Text(title, style="bold"), style="cyan", align="left"))
        parts += _about(one)
    if any(one.threshold is not None for one in suggestions):
        parts += _lines("To use it", yaml_of(suggestions))
        if suggestions[0].groups:
            parts += _lines("To clip each group by itself instead", group_yaml_of(suggestions[0]))
    return Report(*parts)


def yaml_of(suggestions: Sequence[Suggestion]) -> list[str]:
    """The lines of a configuration that clip at the suggested threshold.

    Args:
        suggestions: One for each optimizer. Where there are several, their thresholds are found when a run begins.
    """
    (first, *others) = suggestions
    finder = ["    - class_path: lightning_clip.ClipThresholdFinder"]
    lines = ["trainer:", "  callbacks+:", "    - class_path: lightning_clip.GradientClipping"]
    if others:
        return [*lines, *finder]
    return [
        *(*lines, "      init_args:", "        strategy:", "          class_path: lightning_clip.NormClip"),
        *("          init_args:", f"            max_norm: {float(first.threshold or 1.0)!r}"),
    ]


def group_yaml_of(one: Suggestion) -> list[str]:
    """The lines of a configuration that clip each group at a limit of its own.

    Args:
        one: A suggestion with groups.
    """
    limits = [f'              "{glob}": {limit!r}' for glob, limit in one.group_limits().items()]
    return [
        *("trainer:", "  callbacks+:", "    - class_path: lightning_clip.GradientClipping", "      init_args:"),
        *("        strategy:", "          class_path: lightning_clip.GroupNormClip", "          init_args:"),
        *("            max_norms:", *limits),
    ]


def _about(one: Suggestion) -> Iterator[RenderableType]:
    sample, threshold = one.sample, one.threshold
    rows = [("Measured", f"{counted(len(sample.norms), 'step')}{', ' if one.source else ''}{one.source}")]
    if sample.diverged:
        rows.append(("Diverged", f"{sample.diverged}; what follows is about the steps before"))
    if threshold is None:
        yield pairs([*rows, ("Suggested", "nothing: no step had a finite gradient")])
        return
    by_step = "; a higher threshold lets one step of SGD move the weights by more than 10% of their norm"
    why = by_step if threshold >= 0.99 * sample.step_limit else "; the P90 of these norms"
    limit = f"a limit of {threshold:g}" if one.optimizer else f"NormClip({threshold:g})"
    rows.append(("Suggested", f"{limit}, which would clip {percent(one.clipped(threshold))}{why}"))
    if one.note:
        rows.append(("Note", one.note))
    if len(sample.norms) < _FEW_STEPS:
        rows.append(("Few steps", f"{counted(len(sample.norms), 'step')} may not show how norms vary"))
    yield pairs(rows)
    yield from _distribution(sample.norms)
    rules = sorted(one.rules(), key=lambda rule: -rule.threshold)
    cells = [(rule.name, [number(rule.threshold), percent(rule.clipped)]) for rule in rules]
    yield NamedTable("Rules of thumb", "Rule", ["Threshold", "Clips"], cells)
    if one.groups:
        yield _group_table(one.groups)


def _distribution(norms: Sequence[float]) -> Iterator[RenderableType]:
    low, high = min(norms), max(norms)
    bins = _BINS if high > 1.001 * low else 1
    counts, edges = np.histogram(norms, np.geomspace(low, high, bins + 1) if bins > 1 else 1)
    ranges = [f"{number(float(a))} {DASH} {number(float(b))}" for a, b in pairwise(edges)]
    shares = counts / counts.sum()
    cells = [
        (name, [percent(float(share)), bar(float(share / shares.max()), _BAR_WIDTH)])
        for name, share in zip(ranges, shares, strict=True)
    ]
    yield NamedTable("Total norm before clipping", "Norm", ["Steps", ""], cells, left=[""])


def _group_table(groups: Sequence[GroupNorms]) -> NamedTable:
    rows = [(one.label, [number(value) for value in one.quantiles]) for one in groups]
    return NamedTable("Norm of each group", "Group", ["P10", "Median", "P90", "Max"], rows)


def _lines(title: str, lines: Sequence[str]) -> Iterator[RenderableType]:
    yield headline(title)
    yield Padding(Text("\n".join(lines), no_wrap=True), (0, 0, 1, 0))
