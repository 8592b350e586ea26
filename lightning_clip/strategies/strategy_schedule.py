"""`StrategySchedule`: switch to another strategy at a given step or epoch."""

from collections.abc import Mapping
from typing import Literal, get_args

from torch import nn

from lightning_clip._checks import check_choice, check_instance, check_rule
from lightning_clip._errors import ArgumentError, ArgumentTypeError
from lightning_clip.core.actions import Action
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.strategies.no_clip import NoClip

Unit = Literal["step", "epoch"]


class StrategySchedule(ClipStrategy):
    """Use one strategy after another, each from a given step or epoch on.

    Only the strategy in force sees the gradients, so a strategy that learns from norms starts learning when its turn
    comes. Which strategy is in force depends on the step alone, so a resumed run continues where it stopped.

    Args:
        schedule: The strategies by the first step or epoch at which each is in force, counted from 0. One key must be
            0. `None` means `{0: NoClip()}`.
        unit: What the keys count: `"step"` for steps of the optimizer that the gradients belong to, `"epoch"` for
            epochs.

    Raises:
        ArgumentTypeError: A key is not a whole number, or a value is not a strategy.
        ArgumentError: There is no key 0, a key is negative, or `unit` is unknown.

    Example:
        >>> from lightning_clip import NormClip
        >>> schedule = StrategySchedule({0: NormClip(1.0), 5: NormClip(2.0)}, unit="epoch")
        >>> schedule.label
        'NormClip(1.0)'

    References:
        Dirk Groeneveld and others, "OLMo: Accelerating the Science of Language Models", 2024,
        https://arxiv.org/abs/2402.00838, whose code clips differently during the first steps. We switch whole
        strategies instead.
    """

    def __init__(self, schedule: dict[int, ClipStrategy] | None = None, *, unit: Unit = "step") -> None:
        super().__init__()
        schedule = {0: NoClip()} if schedule is None else schedule
        check_choice("StrategySchedule", get_args(Unit), unit=unit)
        check_instance("StrategySchedule", Mapping, schedule=schedule)
        call = f"StrategySchedule(schedule={schedule!r})"
        for key, strategy in schedule.items():
            is_count = isinstance(key, int) and not isinstance(key, bool) and key >= 0
            check_rule(call, f"a strategy begins at a whole number of at least 0, not {key!r}", holds=is_count)
            if not isinstance(strategy, ClipStrategy):
                raise ArgumentTypeError(f"{call}: each must be a ClipStrategy, not {strategy!r}.")
        if 0 not in schedule:
            raise ArgumentError(f"StrategySchedule(schedule={schedule!r}): add a strategy for {unit} 0.")
        self.turns = nn.ModuleDict({str(key): schedule[key] for key in sorted(schedule)})
        self.unit = unit
        self._in_force = 0

    @property
    def schedule(self) -> dict[int, ClipStrategy]:
        """The strategies by the first step or epoch of each, in order."""
        return {int(key): strategy for key, strategy in self.turns.items()}  # type: ignore[misc]

    @property
    def label(self) -> str:
        """The label of the strategy that made the latest decision."""
        return self.schedule[self._in_force].label

    def decide(self, grads: Gradients) -> Action:
        """Let the strategy in force decide."""
        now = grads.own_step if self.unit == "step" else grads.epoch
        schedule = self.schedule
        self._in_force = max(key for key in schedule if key <= now)
        return schedule[self._in_force].decide(grads)
