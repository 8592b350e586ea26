"""`Rule`: the one protocol of every diagnosis rule; `Finding`: what a rule returns."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum

from lightning_clip.reports.evidence import Evidence


class Severity(IntEnum):
    """How much a finding matters."""

    NOTE = 1
    WARNING = 2
    CRITICAL = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """One statement of a diagnosis.

    Attributes:
        severity: How much it matters.
        title: The finding in one line.
        detail: The numbers behind it, and what they mean.
        remedy: What to do about it.
        code: Lines that can be pasted into a training script, in which `Trainer`, `torch` and `nn` are imported,
            `model` is the network, `in_features` and `out_features` are its sizes, and `y_train` are the targets; empty
            if there are none.
        kind: A short name for this kind of finding, for programs and for other findings.
        unless: The kinds that make this finding redundant: it is dropped where one of them was found.
    """

    severity: Severity
    title: str
    detail: str
    remedy: str
    kind: str = ""
    unless: tuple[str, ...] = ()
    code: tuple[str, ...] = ()


Rule = Callable[[Evidence], Iterable[Finding]]
"""Looks at the evidence of a run and yields what it finds; nothing where all is well."""
