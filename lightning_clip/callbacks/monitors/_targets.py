"""What `TemporalGradientMonitor` watches: recurrent layers and cells of torch, and modules that the user names."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from typing_extensions import override

from lightning_clip.callbacks.monitors._layer_call import CallChain, LayerCall
from lightning_clip.functional.gradient_flow import gradient_flow, random_directions
from lightning_clip.functional.one_direction import directions_of, layer_of_cell

FEWEST_STEPS = 8
"""Shorter sequences are not measured: they have too few lags to fit a rate."""

FEWEST_INPUTS = 32
"""A layer with fewer inputs gets additional zero inputs, because the gradient at a few inputs can hide its growth."""


class Limits(NamedTuple):
    """How much to measure.

    Attributes:
        rows: The largest number of rows.
        max_steps: The longest lag.
        exact: Whether to measure at the states instead of at the inputs.
    """

    rows: int
    max_steps: int
    exact: bool


class Flow(NamedTuple):
    """A measured gradient through time.

    Attributes:
        name: The name to record.
        cell: The type of the layer: torch's `mode`, or the class of another module.
        gradient: `(lags, rows, size)`; lag 0 is the last step.
    """

    name: str
    cell: str
    gradient: Tensor


class Target(ABC):
    """Something with a time axis that can be watched for one forward pass and measured before the backward pass.

    Args:
        name: Its dotted name in the module being trained.
        module: The layer, cell or other module.
    """

    def __init__(self, name: str, module: nn.Module) -> None:
        self.name, self.module = name, module
        self.handles: list[RemovableHandle] = []

    @abstractmethod
    def watch(self, limits: Limits, guard: Callable[[], AbstractContextManager[None]]) -> None:
        """Register the hooks; `guard` is entered around what they do."""

    @abstractmethod
    def flows(self, limits: Limits) -> Iterator[Flow]:
        """Measure what the hooks have seen; nothing if there was no long enough call with gradients."""

    def release(self) -> None:
        """Remove the hooks, and forget what they have seen."""
        for handle in self.handles:
            handle.remove()
        self.handles = []


class RecurrentTarget(Target):
    """A recurrent layer or cell of torch: it is run again on a few rows, and nothing of the training is touched."""

    @override
    def watch(self, limits: Limits, guard: Callable[[], AbstractContextManager[None]]) -> None:
        chain = self._chain = CallChain(rows=limits.rows, at_least=FEWEST_STEPS)

        @torch.compiler.disable  # type: ignore[untyped-decorator]  # or the compiler would trace into the layer's hook
        def note(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            if torch.is_grad_enabled():
                with guard():
                    chain.add(layer, args, kwargs, output)

        self.handles = [self.module.register_forward_hook(note, with_kwargs=True)]

    @override
    def flows(self, limits: Limits) -> Iterator[Flow]:
        call = self._chain.longest
        if call is None:
            return
        if isinstance(self.module, nn.RNNCellBase):
            yield self._flow(self.name, layer_of_cell(self.module), call, limits)
        elif isinstance(self.module, nn.RNNBase) and self.module.bidirectional:
            forward, backward = directions_of(self.module)
            starts = [None if call.hiddens is None else tuple(h[d : d + 1] for h in call.hiddens) for d in (0, 1)]
            yield self._flow(f"{self.name} (forward)", forward, LayerCall(call.inputs, starts[0]), limits)
            yield self._flow(f"{self.name} (backward)", backward, LayerCall(call.inputs.flip(0), starts[1]), limits)
        elif isinstance(self.module, nn.RNNBase):
            yield self._flow(self.name, self.module, call, limits)

    def _flow(self, name: str, layer: nn.RNNBase, call: LayerCall, limits: Limits) -> Flow:
        gradient = gradient_flow(
            layer,
            call.inputs,
            call.hiddens,
            direction=random_directions(call.inputs.shape[1], layer.proj_size or layer.hidden_size),
            max_steps=limits.max_steps,
            exact=limits.exact,
            probes=max(0, FEWEST_INPUTS - layer.input_size),
        )
        return Flow(name, layer.mode, gradient)


class ModuleTarget(Target):
    """Any module from `(batch, steps, …)` to `(batch, steps, …)`, for instance an xLSTM or a state-space block.

    Its own graph is used: the gradient of its output at the last step with respect to its input at every step. That
    adds to no `.grad`, and passes back through this module only.
    """

    @override
    def watch(self, limits: Limits, guard: Callable[[], AbstractContextManager[None]]) -> None:
        self._seen: tuple[Tensor, Tensor] | None = None
        given: list[Tensor] = []

        @torch.compiler.disable  # type: ignore[untyped-decorator]
        def before(module: nn.Module, args: tuple[Any, ...]) -> Any:
            given.clear()
            if not torch.is_grad_enabled() or not args or not _is_sequence(args[0]):
                return None
            inputs = args[0] if args[0].requires_grad else args[0].detach().requires_grad_()
            given.append(inputs)
            return (inputs, *args[1:])

        @torch.compiler.disable  # type: ignore[untyped-decorator]
        def after(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            first = output[0] if isinstance(output, tuple | list) and output else output
            fits = given and _is_sequence(first) and first.requires_grad and first.shape[1] == given[0].shape[1]
            if fits and (self._seen is None or first.shape[1] >= self._seen[1].shape[1]):
                self._seen = given[0], first

        self.handles = [self.module.register_forward_pre_hook(before), self.module.register_forward_hook(after)]

    @override
    def flows(self, limits: Limits) -> Iterator[Flow]:
        if self._seen is None:
            return
        inputs, outputs = self._seen
        last = outputs[: limits.rows, -1].flatten(1)
        with torch.enable_grad():
            loss = (last.float() * random_directions(*last.shape).to(last.device)).sum()
            (gradient,) = torch.autograd.grad(loss, inputs, retain_graph=True)
        by_lag = gradient[: limits.rows].float().transpose(0, 1).flatten(2).flip(0)
        yield Flow(self.name, type(self.module).__name__, by_lag[: limits.max_steps])

    @override
    def release(self) -> None:
        super().release()
        self._seen = None


def _is_sequence(value: Any) -> bool:
    return (
        isinstance(value, Tensor) and value.is_floating_point() and value.dim() >= 3 and value.shape[1] >= FEWEST_STEPS
    )
