"""`RunInfo`: what is being trained; `Event`: something that happened during the run, such as a strategy switch."""

import re
from dataclasses import dataclass, field
from typing import Any

_CALL = re.compile(r"(\w+)\(([^)]*)\)")


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
        optimizer: The class name, learning rate and momentum of each optimizer.
        numels: The number of elements of each parameter, by name.
        seconds: The duration of the run so far, in seconds; `None` if unknown.
        id: Identifies the run over interruptions and resumes; empty in records of earlier versions.
        start_step: The number of optimizer steps completed when this session of the run began; 0 for a new run.
        brief_strategy: The strategy with the arguments that are not at their default; empty in earlier records.
        trains: What each optimizer trains: what the names of its parameters begin with, for instance `"generator"`;
            empty for all of the network. No entry in earlier records.
        frozen: The parameters that no optimizer trained when the run began: without `requires_grad`, or in none of
            them; `None` in earlier records.
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
    frozen: list[str] | None = None

    def name_of(self, optimizer: int) -> str:
        """What an optimizer is called where there are several: `Optimizer 0`, `Optimizer 1 (discriminator)`.

        Args:
            optimizer: Its position.
        """
        trains = self.trains[optimizer] if optimizer < len(self.trains) else ""
        return f"Optimizer {optimizer} ({trains})" if trains else f"Optimizer {optimizer}"

    def call_of(self, optimizer: int) -> tuple[str, dict[str, str]]:
        """How an optimizer was called: the name of its class, and its arguments as they are written; empty if unknown.

        Args:
            optimizer: Its position.

        Example:
            >>> RunInfo(optimizer="Adam(lr=0.1), SGD(lr=0.01, momentum=0.9)").call_of(1)
            ('SGD', {'lr': '0.01', 'momentum': '0.9'})
        """
        found = _CALL.findall(self.optimizer)
        name, arguments = found[min(optimizer, len(found) - 1)] if found else ("", "")
        return name, dict(pair.split("=") for pair in arguments.split(", ") if "=" in pair)
