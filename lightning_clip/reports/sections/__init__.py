"""The parts of a run's report: one file per section, each a function from evidence to renderables."""

from collections.abc import Callable, Iterable

from rich.console import RenderableType

from lightning_clip.reports.evidence import Evidence
from lightning_clip.reports.sections.events import events
from lightning_clip.reports.sections.findings import findings
from lightning_clip.reports.sections.head import head
from lightning_clip.reports.sections.optimizer import optimizers
from lightning_clip.reports.sections.parameters import parameters
from lightning_clip.reports.sections.recurrent import recurrent
from lightning_clip.reports.sections.spectrum import spectrum
from lightning_clip.reports.sections.temporal import temporal
from lightning_clip.reports.sections.worst import worst_steps

__all__ = ["SECTIONS", "Section"]

Section = Callable[[Evidence], Iterable[RenderableType]]
"""Yields what to print about one side of a run; nothing where there is nothing to say."""

SECTIONS: tuple[Section, ...] = (
    head,
    optimizers,
    worst_steps,
    recurrent,
    parameters,
    temporal,
    spectrum,
    events,
    findings,
)
"""Every section, from top to bottom."""
