"""Rules about explosions: the norm grew out of bounds, or it exploded at the start and parameters fell silent."""

import math
from collections.abc import Iterator

from lightning_clip.reports.diagnosis.lines import SCALE_TARGETS, Lines, clip_lines, rate_lines
from lightning_clip.reports.diagnosis.loss import TARGET_SIZE, target_size
from lightning_clip.reports.diagnosis.rule import Finding, Severity
from lightning_clip.reports.evidence import Evidence, OptimizerEvidence
from lightning_clip.reports.formats import TIMES, count, counted, listed, number, percent
from lightning_clip.reports.places import in_brackets, places_from_to, steps_from_to
from lightning_clip.reports.summary import UNCLIPPED


def explodes(evidence: Evidence) -> Iterator[Finding]:
    """The norm grew without bound before the end, or before it became NaN or infinite."""
    for one in evidence.optimizers:
        growth, part = one.growth, one.part
        if growth is None:
            continue
        ended = "at the end"
        title = f"The norm exploded: {TIMES} {number(growth.factor)} in the last {counted(growth.steps, 'step')}"
        if part.first_nonfinite is not None:
            ended = "before it became NaN or infinite"
            title = f"The norm exploded: {TIMES} {number(growth.factor)} in {counted(growth.steps, 'step')}, "
            title += f"then {_bad_word(one)} at step {count(part.first_nonfinite)}"
        clipped = "" if part.verdict is UNCLIPPED else " (measured before clipping)"
        detail = (
            f"It grew from {number(growth.first_norm)} at step {count(growth.start.step)}{in_brackets(growth.start)} "
        )
        detail += f"to {number(growth.last_norm)} {ended}{clipped}."
        if growth.rate is not None:
            detail += (
                f" It grows by {percent(growth.rate)} per step, steadily: each step is too long for the curvature."
            )
        if growth.leader is not None:
            detail += f" The growth was first seen in {growth.leader}."
        held = part.verdict is not UNCLIPPED and part.nonfinite == 0
        remedy, lines = _remedy(evidence, one)
        yield Finding(
            Severity.WARNING if held else Severity.CRITICAL,
            f"{one.label}{title}",
            detail,
            remedy,
            kind="explosion",
            code=lines,
        )


def explodes_early(evidence: Evidence) -> Iterator[Finding]:
    """The first steps exploded, and parameters have had no gradient since: damage, not a vanishing gradient."""
    for one in evidence.optimizers:
        found = one.explosion
        if found is None or one.growth is not None:
            continue
        silent = found.silent
        where = places_from_to(found.first, found.peak)
        led = f", led by {found.peak.top_param}" if found.peak.top_param is not None else ""
        has = "has" if len(silent) == 1 else "have"
        detail = (
            f"It grew from {number(found.first.norm_before)} to {number(found.peak.norm_before)} "
            f"({TIMES} {number(found.factor)}{f'; {where}' if where else ''}){led}. These steps moved weights so far "
            "that units are saturated or dead, and little gets through them: "
            f"{listed([one.name for one in silent])} had norms of up to {number(max(one.max for one in silent))}, and "
            f"{'its' if len(silent) == 1 else 'their'} median is at most {number(max(one.median for one in silent))}."
        )
        remedy, lines = _remedy(evidence, one)
        yield Finding(
            Severity.CRITICAL,
            f"{one.label}The norm exploded at {steps_from_to(found.first, found.peak)}, and "
            f"{counted(len(silent), 'parameter')} {has} had almost no gradient since",
            detail,
            f"Start over, because a lower rate does not revive such units. {remedy}",
            kind="exploded-early",
            code=lines,
        )


def _remedy(evidence: Evidence, one: OptimizerEvidence) -> tuple[str, Lines]:
    size = target_size(one)
    if size is not None and size >= TARGET_SIZE:
        cause = (
            f"The loss began at {number(one.start_loss)}: if it is a mean squared error, the "
            f"targets are about {number(size)} in size, and gradients grow with them. Scale the targets"
        )
        if one.part.verdict is UNCLIPPED:
            return f"{cause}, and clip:", (*SCALE_TARGETS, *clip_lines(evidence))
        return f"{cause}:", SCALE_TARGETS
    if one.part.verdict is UNCLIPPED:
        return (
            "Clip; the report of the clipped run will suggest a threshold. A lower learning rate also helps:",
            clip_lines(evidence),
        )
    return (
        "Clipping did not contain it: lower the learning rate, or clip at a lower threshold:",
        rate_lines(evidence.run, one, 0.1),
    )


def _bad_word(one: OptimizerEvidence) -> str:
    if one.first_bad is None:
        return "NaN or infinite"
    return "NaN" if math.isnan(one.first_bad.norm_before) else "infinite"
