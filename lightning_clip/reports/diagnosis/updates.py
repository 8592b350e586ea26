"""Rules about weights and updates, which an `UpdateMonitor` measured: updates too large, weights growing or NaN."""

import math
from collections.abc import Iterator

from lightning_clip.reports.diagnosis.lines import SKIP_NON_FINITE, rate_lines
from lightning_clip.reports.diagnosis.rule import Finding, Severity
from lightning_clip.reports.evidence import Evidence
from lightning_clip.reports.formats import count, counted, listed, number, percent

REPLACED_RATIO = 0.5
"""One update that changes a weight matrix by a larger fraction of its norm replaces what it had learned."""

LARGE_RATIO = 0.2
"""The same for the usual update of a run."""

GROWN_FACTOR = 10.0
"""Weights that grew by more did not do so to learn."""


def large_updates(evidence: Evidence) -> Iterator[Finding]:
    """Updates are large beside the weights that they change."""
    for one in evidence.optimizers:
        samples = evidence.updates.get(one.part.optimizer, ())
        largest = []
        for sizes in samples:
            ratios = sizes.update_ratios
            matrices = {n: ratios[n] for n, dim in zip(sizes.names, sizes.dims, strict=True) if dim > 1 and n in ratios}
            if matrices:
                name = max(matrices, key=lambda one_name: matrices[one_name])
                largest.append((matrices[name], name, sizes.step))
        if not largest:
            continue
        usual = sorted(largest)[len(largest) // 2][0]
        worst, name, step = max(largest)
        if worst < REPLACED_RATIO and usual < LARGE_RATIO:
            continue
        growth = samples[-1].weight_norm / samples[0].weight_norm if samples[0].weight_norm else 1.0
        grew = f" All weights together grew by a factor of {number(growth)}." if growth > 2 else ""
        yield Finding(
            Severity.WARNING,
            f"{one.label}An update of {name} was {percent(worst)} of the weights, at step {count(step)}",
            f"In {counted(len(largest), 'sample')}, the largest update of a weight matrix was usually "
            f"{percent(usual)} of its norm; about 0.1% is common, and up to a few percent while a small network "
            f"starts to train.{grew}",
            "Lower the learning rate, or warm it up over the first few hundred steps:",
            kind="large-updates",
            unless=("explosion", "exploded-early", "non-finite"),
            code=rate_lines(evidence.run, one, 0.01 if worst > 1 else 0.1),
        )


def growing_weights(evidence: Evidence) -> Iterator[Finding]:
    """The weights grew by a large factor, or became NaN."""
    for one in evidence.optimizers:
        samples = evidence.updates.get(one.part.optimizer, ())
        bad = next((sizes for sizes in samples if not math.isfinite(sizes.weight_norm)), None)
        if bad is not None:
            names = [n for n, norm in zip(bad.names, bad.weight_norms, strict=True) if not math.isfinite(norm)]
            yield Finding(
                Severity.CRITICAL,
                f"{one.label}The weights are NaN or infinite at step {count(bad.step)}",
                f"{listed(names)}: every later output and gradient is NaN too, so the run cannot recover.",
                "Go back to a checkpoint from before, and skip steps that are not finite:",
                kind="bad-weights",
                unless=("explosion", "non-finite"),
                code=SKIP_NON_FINITE,
            )
        elif len(samples) > 1 and 0 < samples[0].weight_norm * GROWN_FACTOR < samples[-1].weight_norm:
            first, last = samples[0], samples[-1]
            yield Finding(
                Severity.WARNING,
                f"{one.label}The weights grew by a factor of {number(last.weight_norm / first.weight_norm)} in "
                f"{counted(last.step - first.step, 'step')}",
                f"Their norm was {number(first.weight_norm)} at step {count(first.step)} and is "
                f"{number(last.weight_norm)} at step {count(last.step)}.",
                "Lower the learning rate, or add weight decay:",
                kind="growing-weights",
                unless=("explosion", "exploded-early", "non-finite", "large-updates"),
                code=rate_lines(evidence.run, one, 0.1),
            )
