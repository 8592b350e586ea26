"""`Measurement`: what a monitor measures now and then; `Measurements`: those of a run, in bounded memory."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Measurement:
    """Something that a monitor measured now and then, as plain numbers and words.

    Attributes:
        step: The number of optimizer steps completed before it.
        kind: What was measured, for instance `"temporal-gradient"`.
        data: Numbers, words, and lists of either, by name.
    """

    step: int
    kind: str
    data: dict[str, float | str | list[float] | list[str]] = field(default_factory=dict)


class Measurements:
    """The first measurement of each kind, and the latest ones.

    Args:
        latest: How many of each kind are kept besides the first.

    Example:
        >>> measurements = Measurements(latest=2)
        >>> for step in range(0, 500, 100):
        ...     measurements.add(Measurement(step, "temperature", {"celsius": 20.0}))
        >>> [measurement.step for measurement in measurements.of("temperature")]
        [0, 300, 400]
    """

    def __init__(self, latest: int = 200) -> None:
        self._latest = latest
        self._first: dict[str, Measurement] = {}
        self._later: dict[str, deque[Measurement]] = {}

    def __len__(self) -> int:
        return len(self._first) + sum(len(later) for later in self._later.values())

    def __iter__(self) -> Iterator[Measurement]:
        """Kind by kind."""
        for kind in self._first:
            yield from self.of(kind)

    @property
    def kinds(self) -> list[str]:
        """Each kind that was measured, in the order of its first time."""
        return list(self._first)

    def add(self, measurement: Measurement) -> None:
        """Keep a measurement; where there are too many of its kind, the oldest but the first is dropped.

        Args:
            measurement: Later than those of its kind that are kept.
        """
        if measurement.kind in self._first:
            self._later[measurement.kind].append(measurement)
        else:
            self._first[measurement.kind] = measurement
            self._later[measurement.kind] = deque(maxlen=self._latest)

    def of(self, kind: str) -> list[Measurement]:
        """Those of one kind.

        Args:
            kind: As in `Measurement.kind`.

        Returns:
            The first and the latest, in order; empty where there are none.
        """
        return [self._first[kind], *self._later[kind]] if kind in self._first else []

    def state_list(self) -> list[dict[str, Any]]:
        """Plain numbers, strings and lists, loadable with `weights_only=True`."""
        return [asdict(measurement) for measurement in self]

    def load_state_list(self, state: Sequence[dict[str, Any]]) -> None:
        """Restore what `state_list` returned."""
        self._first.clear()
        self._later.clear()
        for fields in state:
            self.add(Measurement(**fields))
