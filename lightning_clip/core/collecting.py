"""Which gradients there are at a step; what was found at the step before is checked and used again."""

from collections.abc import Mapping, Sequence
from operator import is_
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.optim import Optimizer

from lightning_clip.functional.materialize import materialize_
from lightning_clip.functional.norms import is_plain

Named = tuple[tuple[str, ...], list[Tensor]]

_named: WeakKeyDictionary[Optimizer, tuple[Mapping[int, str], int, Named]] = WeakKeyDictionary()


def named_params(optimizer: Optimizer, names: Mapping[int, str]) -> Named:
    """Return the names and the parameters of an optimizer, in its order.

    Args:
        optimizer: The optimizer.
        names: Names by the `id` of the parameter. A parameter without a name is called `group.position`.

    Returns:
        The same object as for the call before, as long as the optimizer has the same parameters and `names` is the
        same mapping.
    """
    params = [param for group in optimizer.param_groups for param in group["params"]]
    known = _named.get(optimizer)
    if known is not None and known[0] is names and known[1] == len(names) and _same(known[2][1], params):
        return known[2]
    found = tuple(
        names.get(id(param)) or f"{g}.{i}"
        for g, group in enumerate(optimizer.param_groups)
        for i, param in enumerate(group["params"])
    )
    named = found, params
    _named[optimizer] = names, len(names), named
    return named


_ALL_PLAIN, _STRIDED = {Tensor}, {torch.strided}


def collected(
    names: Sequence[str], params: Sequence[Tensor]
) -> tuple[tuple[str, ...], list[Tensor], list[Tensor], bool]:
    """Return what has a gradient: names, parameters, gradients, and whether all of these are plain tensors.

    Args:
        names: The name of each parameter.
        params: The parameters; one that is listed twice counts once.

    Returns:
        Three sequences of the same length, and whether all gradients are dense and held whole by this process.
    """
    if len(names) == len(params) == len(set(map(id, params))):
        grads = [param.grad for param in params]
        if set(map(type, grads)) == _ALL_PLAIN:
            plain: list[Tensor] = grads  # type: ignore[assignment]  # no `None` is among them
            if {grad.layout for grad in plain} == _STRIDED and True not in {grad.requires_grad for grad in plain}:
                return tuple(names), list(params), plain, True
    held: dict[int, tuple[str, Tensor, Tensor]] = {}
    are_plain = True
    for name, param in zip(names, params, strict=True):
        if (grad := param.grad) is not None and id(param) not in held:
            if grad.requires_grad:  # shares the memory, not the graph
                grad = grad.detach()
            if not is_plain(grad):
                are_plain, grad = False, materialize_(param, grad)
            held[id(param)] = name, param, grad
    kept = list(held.values())
    return tuple([n for n, _, _ in kept]), [param for _, param, _ in kept], [grad for _, _, grad in kept], are_plain


def _same(a: Sequence[object], b: Sequence[object]) -> bool:
    return len(a) == len(b) and all(map(is_, a, b))
