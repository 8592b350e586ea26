"""`Finding`: one thing that a diagnosis has to say."""

from dataclasses import dataclass
from enum import IntEnum


class Severity(IntEnum):
    """How much a finding matters."""

    NOTE = 1
    WARNING = 2
    CRITICAL = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a diagnosis has to say.

    Attributes:
        severity: How much it matters.
        title: What it is, in one line.
        detail: The numbers behind it, and what they mean.
        remedy: What to do about it.
    """

    severity: Severity
    title: str
    detail: str
    remedy: str
