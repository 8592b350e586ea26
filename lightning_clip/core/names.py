"""Parameter names without the prefixes that `torch.compile` and activation checkpointing add."""

from collections.abc import Sequence
from functools import partial
from typing import Any
from weakref import ReferenceType, ref

from torch import Tensor, nn
from torch.optim import Optimizer

from lightning_clip.core.collecting import Named, named_params

_WRAPPERS = ("_orig_mod.", "_checkpoint_wrapped_module.")


def plain_name(name: str) -> str:
    """Return a parameter's name without the prefixes of wrappers.

    Args:
        name: The name from `named_parameters()`.

    Returns:
        The name that the parameter has in the unwrapped module.

    Example:
        >>> plain_name("encoder._orig_mod.weight")
        'encoder.weight'
    """
    for wrapper in _WRAPPERS:
        name = name.replace(wrapper, "")
    return name


def parameter_names(module: nn.Module) -> dict[int, str]:
    """Return the names that records and strategies use for parameters; pass them to `Gradients.of_optimizer`.

    Call it again after parameters have been replaced or added, or use `KnownNames`.

    Args:
        module: The module being trained.

    Returns:
        The name of each parameter, by its `id`.
    """
    return {id(param): plain_name(name) for name, param in module.named_parameters()}


class KnownNames:
    """The names of a module's parameters for one optimizer, found again whenever parameters have been exchanged.

    Finding names takes longer than an optimizer step may, so they are kept as long as the optimizer has only known
    parameters, as many as before, and no known parameter has been deleted.

    Example:
        >>> from torch.optim import SGD
        >>> module, names = nn.Sequential(nn.Linear(2, 1)), KnownNames()
        >>> optimizer = SGD(module.parameters(), lr=0.1)
        >>> list(names.of(module, optimizer).values())
        ['0.weight', '0.bias']
        >>> _ = module.append(nn.Linear(1, 1))
        >>> optimizer.add_param_group({"params": list(module[1].parameters())})
        >>> list(names.of(module, optimizer).values())
        ['0.weight', '0.bias', '1.weight', '1.bias']
    """

    def __init__(self) -> None:
        self.of_module: dict[int, str] = {}
        self._alive: dict[int, ReferenceType[Tensor]] = {}
        self._size = -1
        self._named: Named | None = None

    def of(self, module: nn.Module, optimizer: Optimizer) -> dict[int, str]:
        """Return the names of the module's parameters.

        Args:
            module: The module being trained.
            optimizer: The optimizer that is about to step; it may hold parameters that the module does not.

        Returns:
            The name of each parameter of the module, by its `id`.
        """
        self.named(module, optimizer)
        return self.of_module

    def named(self, module: nn.Module, optimizer: Optimizer) -> Named:
        """Return the names and the parameters of the optimizer, in its order; see `of`."""
        named = named_params(optimizer, self.of_module)
        if named is not self._named or len(self._alive) != self._size:
            self._find(module, named[1])
            named = self._named = named_params(optimizer, self.of_module)
        return named

    def _find(self, module: nn.Module, held: Sequence[Tensor]) -> None:
        self.of_module = parameter_names(module)
        alive: dict[int, ReferenceType[Tensor]] = {}
        for param in [*module.parameters(), *held]:
            alive[id(param)] = ref(param, partial(_forget, alive, id(param)))  # a later parameter may get the same id
        self._alive, self._size = alive, len(alive)


def _forget(alive: dict[int, Any], key: int, _: object) -> None:
    alive.pop(key, None)
