"""`RunInfo`: what is being trained; `Event`: something that happened during the run, such as a strategy switch."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Event:
    """Something that happened at one step of a run: a strategy switch, a rollback, a stop.

    Attributes:
        step: The number of optimizer steps completed before the event.
        kind: One word, for instance `"switch"`.
        message: One line for people to read.
        data: Plain numbers and strings for programs to read.
    """

    step: int
    kind: str
    message: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class RunInfo:
    """What is being trained, for the header of a report.

    Attributes:
        model: The class name of the LightningModule.
        strategy: The `repr` of the clipping strategy.
        optimizer: The class name and learning rate of each optimizer.
        numels: The number of elements of each parameter, by name.
        seconds: The duration of the run so far, in seconds; `None` if unknown.
        id: Identifies the run over interruptions and resumes; empty in records of earlier versions.
        start_step: The number of optimizer steps completed when this session of the run began; 0 for a new run.
        brief_strategy: The strategy with the arguments that are not at their default; empty in earlier records.
        trains: What each optimizer trains: what the names of its parameters begin with, for instance `"generator"`;
            empty for all of the network. No entry in earlier records.
    """

    model: str = ""
    strategy: str = ""
    optimizer: str = ""
    numels: dict[str, int] = field(default_factory=dict)
    seconds: float | None = None
    id: str = ""
    start_step: int = 0
    brief_strategy: str = ""
    trains: list[str] = field(default_factory=list)

    def name_of(self, optimizer: int) -> str:
        """What an optimizer is called where there are several: `Optimizer 0`, `Optimizer 1 (discriminator)`.

        Args:
            optimizer: Its position.
        """
        trains = self.trains[optimizer] if optimizer < len(self.trains) else ""
        return f"Optimizer {optimizer} ({trains})" if trains else f"Optimizer {optimizer}"
