"""`Gradients`: what one optimizer is about to apply."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Self

import torch
from torch import Tensor
from torch.optim import Optimizer

from lightning_clip.core.names import plain_name
from lightning_clip.functional.norms import combine_norms, is_plain, local_values, tensor_norms
from lightning_clip.functional.reading import is_free_to_read
from lightning_clip.functional.sharded import laid_out_like


class Gradients:
    """Names, parameters and gradients of one optimizer at one step, with norms computed on first use and kept.

    Only parameters that have a gradient are held, each once. Norms describe the gradients as they were when the norm
    was first asked for: an action applied later does not change them, so that "before" stays "before".

    Args:
        names: The name of each parameter.
        params: The parameters, in the same order; those whose `grad` is `None` are left out.
        step: The number of optimizer steps completed before this one.
        epoch: The number of epochs completed before this one.
        optimizer: The optimizer that will apply the gradients, for rules that read its state.

    Attributes:
        names: `n` parameter names, in the optimizer's order.
        params: `n` parameters.

    Example:
        >>> layer = torch.nn.Linear(2, 1)
        >>> layer(torch.ones(1, 2)).sum().backward()
        >>> grads = Gradients.of_module(layer)
        >>> grads.names, round(float(grads.total_norm()), 4)
        (('weight', 'bias'), 1.7321)
    """

    def __init__(
        self,
        names: Sequence[str],
        params: Sequence[Tensor],
        *,
        step: int = 0,
        epoch: int = 0,
        optimizer: Optimizer | None = None,
    ) -> None:
        held: dict[int, tuple[str, Tensor, Tensor]] = {}
        self._are_plain = True
        for name, param in zip(names, params, strict=True):
            if (grad := param.grad) is not None and id(param) not in held:
                if not is_plain(grad):
                    self._are_plain, grad = False, _materialize(param, grad)
                held[id(param)] = name, param, grad
        self.names: tuple[str, ...] = tuple([name for name, _, _ in held.values()])
        self._all_names: list[Iterable[str]] = [names]
        self.params: list[Tensor] = [param for _, param, _ in held.values()]
        self._tensors: list[Tensor] | None = [grad for _, _, grad in held.values()]
        self.step = step
        self.epoch = epoch
        self.optimizer = optimizer
        self._norms: dict[float, tuple[Tensor, Tensor]] = {}
        self._make_tensors: Callable[[], list[Tensor]] = list
        self._scaled: tuple[Gradients, Tensor] | None = None

    @classmethod
    def of_optimizer(
        cls, optimizer: Optimizer, names: Mapping[int, str] | None = None, *, step: int = 0, epoch: int = 0
    ) -> Self:
        """The gradients of an optimizer's parameters.

        Args:
            optimizer: The optimizer that is about to step.
            names: `parameter_names(module)`; parameters without a name are called `group.position`, as in `"0.3"`.
                Those of other optimizers' parameters are welcome: they enter `known_names`.
            step: The number of optimizer steps completed before this one.
            epoch: The number of epochs completed before this one.

        Returns:
            The gradients.
        """
        known = names or {}
        pairs = [
            (known.get(id(param)) or f"{g}.{i}", param)
            for g, group in enumerate(optimizer.param_groups)
            for i, param in enumerate(group["params"])
        ]
        grads = cls(
            [name for name, _ in pairs], [param for _, param in pairs], step=step, epoch=epoch, optimizer=optimizer
        )
        grads._all_names.append(known.values())
        return grads

    @classmethod
    def of_module(cls, module: torch.nn.Module, *, step: int = 0) -> Self:
        """The gradients of all parameters of a module, for a plain loop with one optimizer.

        Args:
            module: Any module after `backward()`.
            step: The number of optimizer steps completed before this one.

        Returns:
            The gradients.
        """
        named = dict(module.named_parameters())
        return cls([plain_name(name) for name in named], list(named.values()), step=step)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def tensors(self) -> list[Tensor]:
        """`n` gradients, each of its parameter's shape; those of a preview are made when first asked for."""
        if self._tensors is None:
            self._tensors = self._make_tensors()
        return self._tensors

    def __repr__(self) -> str:
        return f"Gradients({len(self)} tensors, step={self.step})"

    @property
    def known_names(self) -> tuple[str, ...]:
        """The names of all parameters that the caller knows of, with a gradient now or not."""
        return tuple(dict.fromkeys(name for names in self._all_names for name in names))

    @property
    def locals(self) -> list[Tensor]:
        """The elements of each gradient that live on this process, as plain dense tensors sharing its memory."""
        return self.tensors if self._are_plain else [local_values(tensor) for tensor in self.tensors]

    @property
    def device(self) -> torch.device:
        """The device that norms and coefficients live on."""
        return self.params[0].device if self.params else torch.device("cpu")

    def norms(self, norm_type: float = 2.0) -> Tensor:
        """The norm of each gradient.

        Args:
            norm_type: p of the p-norm, greater than 0, or `inf`.

        Returns:
            `(n,)`, float32 or better.
        """
        return self._measure(norm_type)[0]

    def total_norm(self, norm_type: float = 2.0) -> Tensor:
        """The norm of all gradients taken as one vector.

        Args:
            norm_type: p of the p-norm, greater than 0, or `inf`.

        Returns:
            `()`, float32 or better; 0 when there is no gradient.
        """
        return self._measure(norm_type)[1]

    def param_norms(self) -> Tensor:
        """The 2-norm of each parameter that has a gradient, `(n,)`."""
        return tensor_norms([param.detach() for param in self.params])

    def is_finite(self) -> bool:
        """Whether every element is finite; reads the device. An overflowing norm is told apart, and measured again."""
        if not bool(self.total_norm().isfinite()):
            self._norms[2.0] = self._measured_again(2.0, self.norms())
        return bool(self.total_norm().isfinite())

    def non_finite_names(self) -> list[str]:
        """The parameters whose gradient has a NaN or an infinity; reads the device."""
        finite = self.norms().isfinite().tolist()
        return [name for name, is_finite in zip(self.names, finite, strict=True) if not is_finite]

    def numels(self) -> list[int]:
        """The number of elements of each gradient, the whole tensor where it is sharded."""
        return [param.numel() for param in self.params]

    def remeasured(self) -> Self:
        """The same tensors with no norm kept: what the next reader of changed gradients asks."""
        return self._with(lambda: self.tensors)

    def previewed(self, apply_: Callable[["Gradients"], None], coefs: Tensor | None) -> Self:
        """What the gradients would be after a change; the gradients themselves stay as they are.

        Ask `Action.preview`, which calls this where it has to.

        Args:
            apply_: Changes gradients in place.
            coefs: The factor on all gradients, `()`, or on each, `(n,)`, where the change is a known scale: norms then
                follow from it.

        Returns:
            The gradients as they would be left. Tensors are copied when first asked for; ask before the change is made.
        """

        def changed_copies() -> list[Tensor]:
            copies = [tensor.clone() for tensor in self.tensors]
            apply_(self._with(lambda: copies))
            return copies

        preview = self._with(changed_copies)
        preview._scaled = None if coefs is None else (self, coefs)
        return preview

    def _with(self, make_tensors: Callable[[], list[Tensor]]) -> Self:
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._norms, other._tensors, other._make_tensors, other._scaled = {}, None, make_tensors, None
        return other

    def _measure(self, norm_type: float) -> tuple[Tensor, Tensor]:
        """The norm of each and of all, kept from the first time on."""
        if norm_type not in self._norms:
            self._norms[norm_type] = self._derive(norm_type) or self._measure_tensors(norm_type)
        return self._norms[norm_type]

    def _derive(self, norm_type: float) -> tuple[Tensor, Tensor] | None:
        if self._scaled is None:
            return None
        source, coefs = self._scaled
        norms = source.norms(norm_type) * coefs
        return norms, combine_norms(norms, norm_type) if coefs.dim() else source.total_norm(norm_type) * coefs

    def _measure_tensors(self, norm_type: float) -> tuple[Tensor, Tensor]:
        norms = tensor_norms(self.tensors, norm_type)
        total = combine_norms(norms, norm_type)
        # Squares of a finite gradient can overflow float32. On the CPU reading the total is free, so look again.
        if is_free_to_read(total) and not math.isfinite(total.item()):
            return self._measured_again(norm_type, norms)
        return norms, total

    def _measured_again(self, norm_type: float, norms: Tensor) -> tuple[Tensor, Tensor]:
        """In float64, where a norm is not finite. That of a sharded tensor is so on all ranks, or one would wait."""
        bad = [i for i, finite in enumerate(norms.isfinite().tolist()) if not finite]
        norms = norms.double()
        if bad:
            norms[bad] = tensor_norms([self.tensors[i] for i in bad], norm_type, dtype=torch.float64).to(norms.device)
        return norms, combine_norms(norms, norm_type)


def _materialize(param: Tensor, grad: Tensor) -> Tensor:
    """The gradient, now the parameter's, with pending sums carried out: its elements can be changed in place."""
    result = laid_out_like(grad, param)
    if result.layout is torch.sparse_coo and not result.is_coalesced():
        result = result.coalesce()
    if result is not grad:
        param.grad = result
    return result
