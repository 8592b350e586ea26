"""The strategies of a run: with what it starts, what they are called, and what a checkpoint restores of them."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_warn

from lightning_clip.callbacks.step.strategy_provider import StrategyProvider
from lightning_clip.core.state import PerElement
from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.core.strategy_names import is_same_strategy


def starting_strategies(observer: Any, trainer: Trainer) -> list[ClipStrategy]:
    """Return the strategy with which each optimizer starts: a copy, unless a callback has found another one.

    Args:
        observer: The `GradientObserver` that will use them.
        trainer: The trainer, at the start of training.
    """
    for callback in trainer.callbacks:  # type: ignore[attr-defined]  # set while the Trainer is built
        found = callback.starting_strategies(observer, trainer) if isinstance(callback, StrategyProvider) else None
        if found is not None:
            return list(found)
    return [deepcopy(observer.strategy) for _ in trainer.optimizers]


def label_of(strategies: Sequence[ClipStrategy]) -> str:
    """The strategies of a run as people read them; usually they are all the same."""
    return " and ".join(dict.fromkeys(map(repr, strategies)))


def restore_strategies(callback: str, strategies: Sequence[ClipStrategy], label: str, state: Mapping[str, Any]) -> None:
    """Restore the strategies from a checkpoint, and warn of what cannot be restored.

    Args:
        callback: The class name of the callback, quoted in warnings.
        strategies: The strategies of this run, one per optimizer.
        label: The `repr` of the strategy.
        state: What the callback saved: the `repr` of its `"strategy"`, and the state of its `"strategies"`.
    """
    if not is_same_strategy(state["strategy"], label):
        rank_zero_warn(
            f"The checkpoint was saved with {state['strategy']} and this run continues with {label}: "
            "the history is kept, but the state of the earlier strategy is not."
        )
    elif len(state["strategies"]) != len(strategies):
        rank_zero_warn(
            f"{callback}: the checkpoint has {len(state['strategies'])} optimizers and this run has "
            f"{len(strategies)}: the history is kept, but {label} starts anew."
        )
    else:
        for strategy, saved in zip(strategies, state["strategies"], strict=True):
            strategy.load_state_dict(saved)
        _warn_of_lost_elements(strategies)


def _warn_of_lost_elements(strategies: Sequence[ClipStrategy]) -> None:
    """Warn of parameters whose per-element history is not in the checkpoint, because they are sharded.

    Args:
        strategies: The strategies, after they have been restored.
    """
    states = [module for one in strategies for module in one.modules() if isinstance(module, PerElement)]
    lost = list(dict.fromkeys(name for state in states for name in state.left_out))
    if lost:
        rank_zero_warn(
            f"{strategies[0]!r}: the checkpoint contains no per-element history of sharded parameters "
            f"({', '.join(lost[:3])}{', …' if len(lost) > 3 else ''}), so they are not clipped until they have "
            "warmed up again."
        )
