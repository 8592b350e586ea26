"""`AGC`: clip each unit of a weight by the ratio of its gradient norm to its weight norm."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor

from lightning_clip._checks import check_fraction, check_instance, check_positive, check_positive_finite, check_rule
from lightning_clip._errors import ArgumentError
from lightning_clip.core.actions import Action
from lightning_clip.core.element_actions import Multiply
from lightning_clip.core.globs import Globs
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.functional.blocks import layout_of
from lightning_clip.functional.norms import is_plain, tensor_norms, unit_norms
from lightning_clip.functional.reading import is_free_to_read
from lightning_clip.functional.scaling import clip_coef
from lightning_clip.functional.scratch import CACHED, stacked


class AGC(ClipStrategy):
    r"""Limit the gradient norm of each unit to a fraction of its weight norm: adaptive gradient clipping.

    $$\hat g_u = \min\left(1, \lambda \frac{\max(\lVert w_u \rVert, \epsilon)}{\lVert g_u \rVert}\right) g_u$$

    A unit is the set of weights that feed one output: a row of a linear layer or an embedding, or a filter of a
    convolution. A tensor with at most one dimension is one unit. The weight norms are taken before the step. Weights
    that start at zero still move, because `eps` is a floor for their norm. A unit whose gradient is NaN or infinite is
    left unchanged. The sparse gradient of an embedding is clipped row by row.

    Args:
        clip_factor: λ, the largest ratio of gradient norm to weight norm. The paper uses 0.01 for batches of 4096, and
            up to 0.16 for smaller batches.
        eps: Floor for the weight norm of a unit; positive.
        exclude: Globs over parameter names to leave unclipped; the paper excludes the last linear layer.
        unit_axes: The dimensions that make up one unit, by glob over parameter names, for parameters with another
            layout: `(0, 2, 3)` for the weight of `ConvTranspose2d`, `()` for a tensor that is one unit. Counted from 0,
            or from the end if negative. Parameters without a matching glob use all dimensions but the first.
        norm_type: p of the p-norm of gradients and weights; `inf` compares the largest absolute elements.
        min_scale: Smallest scaling factor, in [0, 1]. Above 0, a gradient never vanishes, but its norm may stay above
            the limit.

    Raises:
        ArgumentTypeError: `clip_factor`, `eps` or `norm_type` is not a number, or `exclude` is a string instead of a
            list.
        ArgumentError: `clip_factor`, `eps` or `norm_type` is not positive, or `min_scale` is outside [0, 1]. At the
            first step: a glob matches no parameter, two globs of `unit_axes` match the same parameter, or a parameter
            has no such dimension.

    Example:
        >>> AGC(0.02, exclude=("head.*",), unit_axes={"up.weight": (0, 2, 3)}).label
        "AGC(0.02, exclude=('head.*',), unit_axes={'up.weight': (0, 2, 3)})"

    References:
        Andrew Brock, Soham De, Samuel L. Smith, Karen Simonyan, "High-Performance Large-Scale Image Recognition Without
        Normalization", 2021, https://arxiv.org/abs/2102.06171. The authors' code divides by at least 1e-6; we use the
        exact ratio.
    """

    def __init__(
        self,
        clip_factor: float = 0.01,
        *,
        eps: float = 1e-3,
        exclude: Sequence[str] = (),
        unit_axes: Mapping[str, Sequence[int]] | None = None,
        norm_type: float = 2.0,
        min_scale: float = 0.0,
    ) -> None:
        super().__init__()
        check_positive_finite("AGC", clip_factor=clip_factor, eps=eps)
        check_positive("AGC", norm_type=norm_type)
        check_fraction("AGC", min_scale=min_scale)
        self.clip_factor = clip_factor
        self.eps = eps
        self.norm_type = norm_type
        check_instance("AGC", Mapping, or_none=True, unit_axes=unit_axes)
        for glob, axes in (unit_axes or {}).items():
            are_axes = all(type(axis) is int for axis in axes)  # those of a string are strings
            rule = f"the axes of {glob!r} must be a list of whole numbers"
            check_rule(f"AGC(unit_axes={unit_axes!r})", rule, holds=are_axes)
        self._excluded = Globs(f"AGC(exclude={exclude!r})", exclude, exclusive=False)
        self.exclude = tuple(exclude)
        self.unit_axes = None if unit_axes is None else {glob: tuple(dims) for glob, dims in unit_axes.items()}
        self.min_scale = min_scale
        self._with_axes = Globs(f"AGC(unit_axes={self.unit_axes!r})", self.unit_axes or ())
        self._plan: tuple[list[Any], _Plan] | None = None

    @classmethod
    def reference(cls, clip_factor: float = 0.01, *, eps: float = 1e-3, norm_type: float = 2.0) -> Self:
        """The authors' rule with their constants, and timm's `adaptive_clip_grad`, up to rounding if λ ε is above 1e-6.

        Args:
            clip_factor: λ.
            eps: Floor for the weight norm of a unit.
            norm_type: p of the p-norm, as in timm.

        Returns:
            The strategy.
        """
        return cls(clip_factor, eps=eps, norm_type=norm_type)

    @torch.no_grad()
    def decide(self, grads: Gradients) -> Action:
        """Scale each unit by `min(1, max(min_scale, clip_factor · max(weight norm, eps) / gradient norm))`."""
        factors: list[Tensor | None] = [None] * len(grads)
        plan, dtype = self._plan_of(grads), grads.norms().dtype
        for dims, members in plan.alike:
            _put(factors, members, self._of_units(grads, members, dims), grads.tensors)
        for i, dims in plan.apart:
            factors[i] = self._coef(*self._unit_norms(grads.tensors[i], grads.params[i].detach(), dims, dtype))
        if plan.whole:  # their gradient norms are known, and one reduction measures all their weights
            weights = tensor_norms([grads.params[i].detach() for i in plan.whole], self.norm_type).to(grads.device)
            norms = grads.norms(self.norm_type)
            if len(plan.whole) < len(norms):
                norms = torch.stack([norms[i] for i in plan.whole])
            _put(factors, plan.whole, self._coef(norms, weights), grads.tensors)
        return Multiply(factors, acts=True)

    def _plan_of(self, grads: Gradients) -> "_Plan":
        """Which gradients have units in common; the same as at the step before, if they look the same."""
        layout = [grads.names, layout_of(grads.tensors)]
        if not grads.are_plain or self._plan is None or self._plan[0] != layout:
            plan = _Plan()
            alike: dict[tuple[object, ...], list[int]] = {}
            for i, (dims, tensor) in enumerate(zip(self._dims(grads), grads.tensors, strict=True)):
                if dims == ():
                    plan.whole.append(i)
                elif dims is not None and is_plain(tensor):
                    alike.setdefault((dims, tensor.shape, tensor.dtype, tensor.device), []).append(i)
                elif dims is not None:
                    plan.apart.append((i, dims))
            plan.alike = [(key[0], members) for key, members in alike.items()]
            self._plan = layout, plan
        return self._plan[1]

    def _of_units(self, grads: Gradients, members: list[int], dims: Any) -> Tensor:
        """The factors `(n, …)` of tensors of the same shape, measured in portions that fit into the cache."""
        tensors, params = grads.tensors, grads.params
        portion = max(1, CACHED // max(1, params[members[0]].numel()))
        inner = tuple(dim + 1 for dim in dims)
        norms, weight_norms = [], []
        for start in range(0, len(members), portion):
            own = members[start : start + portion]
            gradients = stacked([tensors[i] for i in own])
            norms.append(unit_norms(gradients, inner, norm_type=self.norm_type, dtype=grads.norms().dtype))
            weights = stacked([params[i].detach() for i in own])
            weight_norms.append(unit_norms(weights, inner, norm_type=self.norm_type))
        return self._coef(torch.cat(norms), torch.cat(weight_norms))

    def _coef(self, norm: Tensor, weight_norm: Tensor) -> Tensor:
        coef: Tensor = clip_coef(norm, self.clip_factor * weight_norm.clamp(min=self.eps), min_scale=self.min_scale)
        return coef

    def _dims(self, grads: Gradients) -> list[tuple[int, ...] | None]:
        """The dimensions of one unit of each gradient: `()` if the tensor is one unit, `None` if it is excluded."""
        excluded, globs = self._excluded.of(grads), self._with_axes.of(grads)
        return [
            None if out is not None else self._dims_of(name, param.ndim, glob)
            for name, param, out, glob in zip(grads.names, grads.params, excluded, globs, strict=True)
        ]

    def _dims_of(self, name: str, ndim: int, glob: str | None) -> tuple[int, ...]:
        if glob is None or self.unit_axes is None:
            return tuple(range(1, ndim))
        dims = self.unit_axes[glob]
        if any(not -ndim <= dim < ndim for dim in dims):
            call = f"AGC(unit_axes={{{glob!r}: {dims}}})"
            raise ArgumentError(f"{call}: {name!r} has {ndim} dimensions; choose from {tuple(range(ndim))}.")
        chosen = tuple(sorted({dim % ndim for dim in dims}))
        return () if len(chosen) == ndim else chosen

    def _unit_norms(
        self, grad: Tensor, weight: Tensor, dims: tuple[int, ...], dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        """The norms of the units of a gradient and their weights; for a sparse gradient, only of the rows it holds."""
        if grad.layout is not torch.strided:
            if min(dims) < grad.sparse_dim():
                call = "AGC(unit_axes=…)"
                raise ArgumentError(f"{call}: the units of a sparse gradient are its rows; omit 0, or exclude it.")
            weight = weight[tuple(grad.indices())]
            dims = tuple(dim - grad.sparse_dim() + 1 for dim in dims)
            grad = grad.values()
        norms = unit_norms(grad, dims, norm_type=self.norm_type, dtype=dtype)
        return norms, unit_norms(weight, dims, norm_type=self.norm_type)


@dataclass
class _Plan:
    """What is measured together.

    Attributes:
        whole: The positions of tensors that are one unit.
        alike: The dimensions of a unit and the positions of plain tensors of the same shape, dtype and device.
        apart: The positions of sparse and sharded tensors, with the dimensions of their units.
    """

    whole: list[int] = field(default_factory=list)
    alike: list[tuple[Any, list[int]]] = field(default_factory=list)
    apart: list[tuple[int, tuple[int, ...]]] = field(default_factory=list)


def _put(factors: list[Tensor | None], members: list[int], coefs: Tensor, tensors: list[Tensor]) -> None:
    """Keep the factors `(n, …)` of some tensors, unless it is free to see that all are 1."""
    if is_free_to_read(coefs) and not (coefs.numel() and bool(coefs.amin() < 1)):
        return
    for i, coef in zip(members, coefs.unbind(), strict=True):
        factors[i] = coef if coefs.is_cpu and tensors[i].is_cpu else coef.to(tensors[i].device)
