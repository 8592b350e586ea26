"""`Chain`: several strategies, one after the other."""

from collections.abc import Sequence

from torch import nn

from lightning_clip._checks import check_each
from lightning_clip.core.actions import Action, Sequential
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.strategy import ClipStrategy


class Chain(ClipStrategy):
    """Let each strategy decide on what the one before would leave, and apply all in order.

    From the inside out: rules per element first, then rules per tensor, the total norm last. A link that skips the
    step leaves the gradients as they are for the links after it: they see, and remember, what was skipped.

    A link that scales costs the next one nothing: norms follow from its factors. The gradients are copied only where a
    link after the first reads their elements.

    Args:
        strategies: The links, in order.

    Raises:
        TypeError: One of them is not a strategy.

    Example:
        >>> from lightning_clip import NormClip, ValueClip
        >>> Chain([ValueClip(0.5), NormClip(1.0)]).label
        'Chain(ValueClip(0.5), NormClip(1.0))'

    References:
        The Optax authors, "Optax", `chain`, 2020, https://optax.readthedocs.io. There a link may change anything;
        here each can only do what an action does.
    """

    def __init__(self, strategies: Sequence[ClipStrategy] = ()) -> None:
        super().__init__()
        check_each("Chain", ClipStrategy, strategies=strategies)
        self.links = nn.ModuleList(strategies)

    @property
    def strategies(self) -> tuple[ClipStrategy, ...]:
        """The links, in order."""
        return tuple(self.links)  # type: ignore[arg-type]

    @property
    def label(self) -> str:
        """The labels of the links, in order."""
        return f"Chain({', '.join(link.label for link in self.strategies)})"

    def decide(self, grads: Gradients) -> Action:
        """Ask each link in turn."""
        actions = []
        for link in self.strategies:
            actions.append(link.decide(grads))
            grads = actions[-1].preview(grads)
        return Sequential(actions)
