"""`PerParameter`: a few numbers for each parameter, stored by parameter name."""

from typing import Any

import torch
from torch import Tensor

from lightning_clip.core.gradients import Gradients
from lightning_clip.core.state.state import State

ALL_PARAMETERS = ("all parameters",)
"""The name of the row for numbers that belong to all parameters together; see `PerParameter.take_rows`."""


class PerParameter(State):
    """A table of numbers with one row for each parameter that has ever had a gradient.

    Rows are found by parameter name, so parameters may change order, be missing at a step, or join later.

    Args:
        **columns: The name of each column and its initial value for a new parameter.

    Example:
        >>> state = PerParameter(ema=0.0)
        >>> layer = torch.nn.Linear(2, 1)
        >>> layer(torch.ones(1, 2)).sum().backward()
        >>> grads = Gradients.of_module(layer)
        >>> (ema,) = state.take(grads)
        >>> state.put(grads, ema + grads.norms())
        >>> [round(x, 4) for x in state.take(grads)[0].tolist()]
        [1.4142, 1.0]
    """

    holds_nan = True  # a rule may use NaN for "not yet known"

    def __init__(self, **columns: float) -> None:
        super().__init__()
        self.columns = columns
        self.names: tuple[str, ...] = ()
        self._found: dict[tuple[tuple[str, ...], torch.device], Tensor] = {}
        for name in columns:
            self.register_buffer(name, torch.empty(0))

    def take(self, grads: Gradients) -> tuple[Tensor, ...]:
        """The rows of the parameters that have a gradient now.

        Args:
            grads: The gradients of this step.

        Returns:
            One tensor `(n,)` for each column. These are copies.
        """
        return self.take_rows(grads.names, grads.norms())

    def put(self, grads: Gradients, *values: Tensor) -> None:
        """Store new numbers for the parameters that have a gradient now.

        Args:
            grads: The gradients of this step, as passed to `take`.
            *values: One tensor `(n,)` for each column, in the order of the constructor.
        """
        self.put_rows(grads.names, *values)

    def take_rows(self, names: tuple[str, ...], like: Tensor) -> tuple[Tensor, ...]:
        """The rows with the given names; for numbers that do not belong to a single parameter.

        Args:
            names: `n` names.
            like: A tensor with the dtype and device of the values to store.

        Returns:
            One tensor `(n,)` for each column. These are copies.
        """
        if names:
            self.match(like)
        self._make_room(names)
        if names == self.names:
            return tuple(self.get_buffer(name).clone() for name in self.columns)
        rows = self._rows(names)
        return tuple(self.get_buffer(name).index_select(0, rows) for name in self.columns)

    def put_rows(self, names: tuple[str, ...], *values: Tensor) -> None:
        """Store new numbers in the rows with the given names.

        Args:
            names: `n` names, as passed to `take_rows`.
            *values: One tensor `(n,)` for each column, in the order of the constructor.
        """
        rows = None if names == self.names else self._rows(names)
        for name, value in zip(self.columns, values, strict=True):
            buffer = self.get_buffer(name)
            if rows is None:
                buffer.copy_(value)
            else:
                buffer.index_copy_(0, rows, value.to(buffer))

    def get_extra_state(self) -> dict[str, Any]:
        """The parameter names, in row order."""
        return {"names": list(self.names)}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore the result of `get_extra_state`."""
        self.names = tuple(state["names"])
        self._found = {}

    def _make_room(self, names: tuple[str, ...]) -> None:
        known = set(self.names)
        new = [name for name in names if name not in known] if names != self.names else []
        if new:
            self.names += tuple(new)
            for column, start in self.columns.items():
                buffer = self.get_buffer(column)
                self.register_buffer(column, torch.cat([buffer, buffer.new_full((len(new),), start)]))

    def _rows(self, names: tuple[str, ...]) -> Tensor:
        """The row indices of the names, cached: copying a list to an accelerator blocks the host."""
        device = next(self.buffers()).device
        rows = self._found.get((names, device))
        if rows is None:
            position = {name: i for i, name in enumerate(self.names)}
            rows = torch.tensor([position[name] for name in names], device=device, dtype=torch.int64)
            if len(self._found) >= 64:  # mixtures of experts have too many combinations to keep them all
                self._found.clear()
            self._found[names, device] = rows
        return rows
