"""`Chain`: apply several strategies one after another."""

from collections.abc import Sequence

from torch import nn

from lightning_clip._checks import check_each
from lightning_clip.core.actions import Action, Sequential
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.strategies.no_clip import NoClip


class Chain(ClipStrategy):
    """Let each strategy decide on what the previous one would leave, and apply all decisions in order.

    Order the links from fine to coarse: rules per element first, then rules per tensor, the total norm last. A link
    that skips the step leaves the gradients unchanged for the links after it, so they see and remember the skipped
    gradients.

    A link that only scales adds no cost to the next one, because norms follow from its factors. The gradients are
    copied only if a later link reads their elements.

    Args:
        strategies: The links, in order; `NoClip()` by default.

    Raises:
        ArgumentTypeError: A link is not a strategy.
        ArgumentError: There is no link.

    Example:
        >>> from lightning_clip import NormClip, ValueClip
        >>> Chain([ValueClip(0.5), NormClip(1.0)]).label
        'Chain(ValueClip(0.5), NormClip(1.0))'

    References:
        The Optax authors, "Optax", `chain`, 2020, https://optax.readthedocs.io. There a link may make any change; here
        it can only do what an action does.
    """

    def __init__(self, strategies: Sequence[ClipStrategy] | None = None) -> None:
        super().__init__()
        strategies = [NoClip()] if strategies is None else strategies
        check_each("Chain", ClipStrategy, at_least=1, strategies=strategies)
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
        """Let each link decide in turn."""
        actions = []
        for link in self.strategies:
            actions.append(link.decide(grads))
            grads = actions[-1].preview(grads)
        return Sequential(actions)
