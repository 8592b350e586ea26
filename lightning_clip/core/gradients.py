"""`Gradients`: what one optimizer is about to apply."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor
from torch.optim import Optimizer

from lightning_clip.functional.norms import combine_norms, local_values, tensor_norms

if TYPE_CHECKING:
    from lightning_clip.core.actions import Action


class Gradients:
    """Names, parameters and gradients of one optimizer at one step, with norms computed on first use and kept.

    Only parameters that have a gradient are held, each once. Norms describe the gradients as they were when the norm
    was first asked for: an action applied later does not change them, so that "before" stays "before".

    Args:
        names: The name of each parameter.
        params: The parameters, in the same order; those whose `grad` is `None` are left out.
        step: The number of optimizer steps completed before this one.
        optimizer: The optimizer that will apply the gradients, for rules that read its state.

    Attributes:
        names: `n` parameter names, in the optimizer's order.
        params: `n` parameters.
        tensors: `n` gradients, each of its parameter's shape.
        step: The number of optimizer steps completed before this one.
        optimizer: The optimizer, or `None`.

    Example:
        >>> layer = torch.nn.Linear(2, 1)
        >>> layer(torch.ones(1, 2)).sum().backward()
        >>> grads = Gradients.of_module(layer)
        >>> grads.names
        ('weight', 'bias')
        >>> round(float(grads.total_norm()), 4)
        1.7321
    """

    def __init__(
        self,
        names: Sequence[str],
        params: Sequence[Tensor],
        *,
        step: int = 0,
        optimizer: Optimizer | None = None,
    ) -> None:
        held = {id(p): (name, p, _coalesced(p)) for name, p in zip(names, params, strict=True) if p.grad is not None}
        self.names: tuple[str, ...] = tuple(name for name, _, _ in held.values())
        self.params: list[Tensor] = [param for _, param, _ in held.values()]
        self.tensors: list[Tensor] = [grad for _, _, grad in held.values()]
        self.step = step
        self.optimizer = optimizer
        self._norms: dict[float, Tensor] = {}
        self._totals: dict[float, Tensor] = {}

    @classmethod
    def of_optimizer(cls, optimizer: Optimizer, names: Mapping[int, str] | None = None, *, step: int = 0) -> Self:
        """The gradients of an optimizer's parameters.

        Args:
            optimizer: The optimizer that is about to step.
            names: Parameter name by `id` of the parameter; others are named `group.position`, for instance `"0.3"`.
            step: The number of optimizer steps completed before this one.

        Returns:
            The gradients.
        """
        known = names or {}
        pairs = [
            (known.get(id(param)) or f"{g}.{i}", param)
            for g, group in enumerate(optimizer.param_groups)
            for i, param in enumerate(group["params"])
        ]
        return cls([name for name, _ in pairs], [param for _, param in pairs], step=step, optimizer=optimizer)

    @classmethod
    def of_module(cls, module: torch.nn.Module, *, step: int = 0) -> Self:
        """The gradients of all parameters of a module, for a plain loop with one optimizer.

        Args:
            module: Any module after `backward()`.
            step: The number of optimizer steps completed before this one.

        Returns:
            The gradients.
        """
        names, params = zip(*module.named_parameters(), strict=True)
        return cls(names, params, step=step)

    def __len__(self) -> int:
        return len(self.tensors)

    @property
    def locals(self) -> list[Tensor]:
        """The elements of each gradient that live on this process, as plain dense tensors sharing its memory."""
        return [local_values(tensor) for tensor in self.tensors]

    def __repr__(self) -> str:
        return f"Gradients({len(self)} tensors, step={self.step})"

    @property
    def device(self) -> torch.device:
        """The device that norms and coefficients live on."""
        return self.tensors[0].device if self.tensors else torch.device("cpu")

    def norms(self, norm_type: float = 2.0) -> Tensor:
        """The norm of each gradient.

        Args:
            norm_type: p of the p-norm, greater than 0, or `inf`.

        Returns:
            `(n,)`, float32 or better.
        """
        if norm_type not in self._norms:
            self._measure(norm_type)
        return self._norms[norm_type]

    def total_norm(self, norm_type: float = 2.0) -> Tensor:
        """The norm of all gradients taken as one vector.

        Args:
            norm_type: p of the p-norm, greater than 0, or `inf`.

        Returns:
            `()`, float32 or better; 0 when there is no gradient.
        """
        if norm_type not in self._totals:
            self._measure(norm_type)
        return self._totals[norm_type]

    def param_norms(self) -> Tensor:
        """The 2-norm of each parameter that has a gradient, `(n,)`."""
        return tensor_norms([param.detach() for param in self.params])

    def numels(self) -> list[int]:
        """The number of elements of each gradient, the whole tensor where it is sharded."""
        return [tensor.numel() for tensor in self.tensors]

    def remeasured(self) -> Self:
        """The same tensors with no norm kept: what the next reader of changed gradients asks."""
        return self._with(self.tensors)

    def after(self, action: "Action") -> Self:
        """What the gradients would be once `action` is applied; the gradients themselves stay as they are.

        Args:
            action: The action to try.

        Returns:
            New `Gradients` over copies of the tensors.
        """
        preview = self._with([tensor.clone() for tensor in self.tensors])
        action.apply_(preview)
        return preview.remeasured()

    def of(self, positions: Iterable[int]) -> Self:
        """The part of the gradients at the given positions, norms already measured included.

        Args:
            positions: Indices into `names`.

        Returns:
            Gradients over the same tensors.
        """
        chosen = list(positions)
        part = self._with([self.tensors[i] for i in chosen])
        part.names = tuple(self.names[i] for i in chosen)
        part.params = [self.params[i] for i in chosen]
        for norm_type, norms in self._norms.items():
            part._norms[norm_type] = norms[chosen]
            part._totals[norm_type] = combine_norms(part._norms[norm_type], norm_type)
        return part

    def _with(self, tensors: list[Tensor]) -> Self:
        other = object.__new__(type(self))
        other.names, other.params, other.tensors = self.names, self.params, tensors
        other.step, other.optimizer = self.step, self.optimizer
        other._norms, other._totals = {}, {}
        return other

    def _measure(self, norm_type: float) -> None:
        norms = tensor_norms(self.tensors, norm_type)
        total = combine_norms(norms, norm_type)
        if total.device.type == "cpu" and not torch.compiler.is_compiling() and not total.isfinite():
            # Squares of a finite gradient can overflow float32. On the CPU reading the total is free, so look again.
            norms = tensor_norms(self.tensors, norm_type, dtype=torch.float64)
            total = combine_norms(norms, norm_type)
        self._norms[norm_type], self._totals[norm_type] = norms, total


def _coalesced(param: Tensor) -> Tensor:
    """The gradient, with the repeated indices of a sparse one summed, so that its values can be changed in place."""
    grad = param.grad
    assert grad is not None
    if grad.layout is torch.sparse_coo and not grad.is_coalesced():
        param.grad = grad = grad.coalesce()
    return grad
