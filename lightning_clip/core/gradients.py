"""`Gradients`: the gradients that one optimizer is about to apply, with their norms."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Self

import torch
from torch import Tensor
from torch.optim import Optimizer

from lightning_clip.core.collecting import collected, named_params
from lightning_clip.core.names import plain_name
from lightning_clip.functional.blocks import copies_of
from lightning_clip.functional.norms import combine_norms, local_values, tensor_norms
from lightning_clip.functional.scalars import Scalar, scalar

_NO_NAMES: Mapping[int, str] = {}


class Gradients:
    """Names, parameters and gradients of one optimizer at one step, with norms that are computed once and cached.

    Only parameters that have a gradient are kept, each once. A norm describes the gradients at the time of its first
    use: an action applied later does not change it, so "before" stays "before". Neither gradients nor norms hold on to
    the graph of `backward(create_graph=True)`.

    Args:
        names: The name of each parameter.
        params: The parameters, in the same order; those whose `grad` is `None` are skipped.
        step: The number of optimizer steps completed before this one.
        epoch: The number of epochs completed before this one.
        optimizer: The optimizer that will apply the gradients, for strategies that read its state.
        other_names: Names of parameters that go into `known_names` besides `names`.

    Attributes:
        names: `n` parameter names, in the optimizer's order.
        params: `n` parameters.
        are_plain: Whether all gradients are dense and held whole by this process.
        own_step: The number of steps that this optimizer completed before this one, which schedules count; `step`,
            unless it is set because `step` counts those of other optimizers too.

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
        other_names: Iterable[str] = (),
    ) -> None:
        self._tensors: list[Tensor] | None
        self.names, self.params, self._tensors, self.are_plain = collected(names, params)
        self._all_names = names, other_names
        self.step = self.own_step = step
        self.epoch = epoch
        self.optimizer = optimizer
        self._norms: dict[float, tuple[Tensor, Tensor, Scalar]] = {}
        self._make_tensors: Callable[[], list[Tensor]] = list
        self._scaled: tuple[Gradients, Tensor] | None = None

    @classmethod
    def of_optimizer(
        cls, optimizer: Optimizer, names: Mapping[int, str] | None = None, *, step: int = 0, epoch: int = 0
    ) -> Self:
        """Collect the gradients of an optimizer's parameters.

        Args:
            optimizer: The optimizer that is about to step.
            names: The result of `parameter_names(module)`. A parameter without a name is called `group.position`, for
                instance `"0.3"`. Names of other optimizers' parameters may be included; they go into `known_names`.
            step: The number of optimizer steps completed before this one.
            epoch: The number of epochs completed before this one.

        Returns:
            The gradients.
        """
        names = _NO_NAMES if names is None else names
        named = named_params(optimizer, names)
        return cls(*named, step=step, epoch=epoch, optimizer=optimizer, other_names=names.values())

    @classmethod
    def of_module(cls, module: torch.nn.Module, *, step: int = 0) -> Self:
        """Collect the gradients of all parameters of a module, for a plain training loop with one optimizer.

        Args:
            module: The module, after `backward()`.
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
        """`n` gradients, each of its parameter's shape; a preview makes its copies on first access."""
        if self._tensors is None:
            self._tensors = self._make_tensors()
        return self._tensors

    def __repr__(self) -> str:
        return f"Gradients({len(self)} tensors, step={self.step})"

    @property
    def known_names(self) -> tuple[str, ...]:
        """The names of all parameters that the caller knows, whether or not they have a gradient at this step."""
        return tuple(dict.fromkeys(name for names in self._all_names for name in names))

    @property
    def locals(self) -> list[Tensor]:
        """The part of each gradient on this process, as plain dense tensors that share its memory."""
        return self.tensors if self.are_plain else [local_values(tensor) for tensor in self.tensors]

    @property
    def device(self) -> torch.device:
        """The device of norms and coefficients."""
        return self.params[0].device if self.params else torch.device("cpu")

    def norms(self, norm_type: float = 2.0) -> Tensor:
        """Return the norm of each gradient.

        Args:
            norm_type: The p of the p-norm, greater than 0, or `inf`.

        Returns:
            `(n,)`, float32 or better.
        """
        return self._measure(norm_type)[0]

    def total_norm(self, norm_type: float = 2.0) -> Tensor:
        """Return the norm of all gradients taken as one vector.

        Args:
            norm_type: The p of the p-norm, greater than 0, or `inf`.

        Returns:
            `()`, float32 or better; 0 if there is no gradient.
        """
        return self._measure(norm_type)[1]

    def total(self, norm_type: float = 2.0) -> Scalar:
        """Return `total_norm` as a number of numpy if it is free to read, otherwise as a tensor `()`.

        Args:
            norm_type: The p of the p-norm, greater than 0, or `inf`.
        """
        return self._measure(norm_type)[2]

    def param_norms(self) -> Tensor:
        """Return the 2-norm of each parameter that has a gradient, `(n,)`."""
        return tensor_norms([param.detach() for param in self.params])

    def is_finite(self) -> bool:
        """Return whether every element is finite, measuring an overflowing norm again; reads the device."""
        if not bool(self.total_norm().isfinite()):
            self._norms[2.0] = self._measured_again(2.0, self.norms())
        return bool(self.total_norm().isfinite())

    def non_finite_names(self) -> list[str]:
        """Return the names of the parameters whose gradient contains NaN or infinity; reads the device."""
        finite = self.norms().isfinite().tolist()
        return [name for name, is_finite in zip(self.names, finite, strict=True) if not is_finite]

    def numels(self) -> list[int]:
        """Return the number of elements of each gradient, counting all shards of a sharded one."""
        return [param.numel() for param in self.params]

    def remeasured(self) -> Self:
        """Return the same tensors without cached norms, for use after the gradients have been changed."""
        return self._with(lambda: self.tensors)

    def previewed(self, apply_: Callable[["Gradients"], None], coefs: Tensor | None) -> Self:
        """Return the gradients as they would be after a change, without changing them; see `Action.preview`.

        Args:
            apply_: The function that changes gradients in place.
            coefs: The factor on all gradients, `()`, or one per gradient, `(n,)`, if the change only scales them. Norms
                then follow from the factors.

        Returns:
            The changed gradients, copied on first access, which must come before the change is applied.
        """

        def changed_copies() -> list[Tensor]:
            copies = copies_of(self.tensors) if self.are_plain else [tensor.clone() for tensor in self.tensors]
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

    def _measure(self, norm_type: float) -> tuple[Tensor, Tensor, Scalar]:
        """Return the norm of each gradient, that of all, and the latter as a number; cached after the first call."""
        found = self._norms.get(norm_type)
        if found is None:
            if torch.is_grad_enabled():
                with torch.no_grad():
                    return self._measure(norm_type)
            scaled = self._scaled
            found = self._measure_tensors(norm_type) if scaled is None else self._derive(norm_type, *scaled)
            self._norms[norm_type] = found
        return found

    def _derive(self, norm_type: float, source: "Gradients", coefs: Tensor) -> tuple[Tensor, Tensor, Scalar]:
        norms = source.norms(norm_type) * coefs
        total = combine_norms(norms, norm_type) if coefs.dim() else source.total_norm(norm_type) * coefs
        return norms, total, scalar(total)

    def _measure_tensors(self, norm_type: float) -> tuple[Tensor, Tensor, Scalar]:
        norms = tensor_norms(self.tensors, norm_type, are_plain=self.are_plain)
        total = combine_norms(norms, norm_type)
        number = scalar(total)
        # The squares of a finite gradient can overflow float32. On the CPU checking the total is free.
        if not isinstance(number, Tensor) and not math.isfinite(number):
            return self._measured_again(norm_type, norms)
        return norms, total, number

    def _measured_again(self, norm_type: float, norms: Tensor) -> tuple[Tensor, Tensor, Scalar]:
        """Measure non-finite norms again in float64; a sharded norm is non-finite on all ranks, so none waits."""
        bad = [i for i, finite in enumerate(norms.isfinite().tolist()) if not finite]
        wide = norms.double()
        if bad:
            wide[bad] = tensor_norms([self.tensors[i] for i in bad], norm_type, dtype=torch.float64).to(norms.device)
        total = combine_norms(wide, norm_type)
        if not math.isfinite(total.item()):  # NaN and infinity change no dtype of what is remembered
            wide, total = wide.to(norms.dtype), total.to(norms.dtype)
        return wide, total, scalar(total)
