"""`restore_strategies`: the strategies of a resumed run, whose checkpoint may fit only in part."""

from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch.utilities import rank_zero_warn

from lightning_clip.core.state import PerElement
from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.core.strategy_names import is_same_strategy


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
