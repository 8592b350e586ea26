"""`RunInfo` and `Event`: what is being run, and what happened once during it."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Event:
    """Something that happened once in a run: a switch of strategy, a restored snapshot, a stop.

    Attributes:
        step: The number of optimizer steps completed before it.
        kind: One word, for instance `"switch"`.
        message: One line for people.
        data: Plain numbers and strings, for programs.
    """

    step: int
    kind: str
    message: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class RunInfo:
    """What was run, for the head of a report.

    Attributes:
        model: Class name of the LightningModule.
        strategy: The clipping strategy as it prints itself.
        optimizer: Class name and learning rate of each optimizer.
        numels: Number of elements of each parameter, by name.
        seconds: Duration of the run so far, in seconds.
    """

    model: str = ""
    strategy: str = ""
    optimizer: str = ""
    numels: dict[str, int] = field(default_factory=dict)
    seconds: float | None = None
