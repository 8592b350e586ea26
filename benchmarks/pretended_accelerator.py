"""A pretended accelerator that counts how often the host reads it, for machines without one."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

DEVICE = torch.device("cuda", 0)
_READS = {
    Tensor.item,
    Tensor.tolist,
    Tensor.cpu,
    Tensor.numpy,
    Tensor.nonzero,
    Tensor.__bool__,
    Tensor.__float__,
    Tensor.__int__,
    Tensor.__index__,
}
_DEVICE_OF = {Tensor.device.__get__}
_IS_CPU = {Tensor.is_cpu.__get__}


class PretendedAccelerator(TorchFunctionMode):
    """A mode in which every tensor claims to be on an accelerator and each copy to the host is counted.

    The tensors stay on the CPU, so the numbers are real, but code that looks at `tensor.device` behaves as on an
    accelerator. A read is whatever would make the host wait: `item`, `tolist`, `float`, `bool`, `int`, `cpu`,
    `nonzero` and `to("cpu")`. The result of `cpu` belongs to the host, and reading it again is free.

    Attributes:
        reads: The number of reads so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self._on_host: dict[int, Tensor] = {}

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = dict(kwargs or {})
        here = any(isinstance(arg, Tensor) and id(arg) in self._on_host for arg in args)
        if func in _DEVICE_OF:
            return torch.device("cpu") if here else DEVICE
        if func in _IS_CPU:
            return here
        if func in _READS:
            self.reads += not here
            result = func(*args, **given)
            return self._remember(result.clone() if func is Tensor.cpu else result)
        if func is Tensor.to:
            args, given, to_host = _without_device(args, given)
            self.reads += to_host and not here
            result = func(*args, **given)
            return self._remember(result.clone()) if to_host else result
        if given.get("device") is not None:
            given["device"] = None
        result = func(*args, **given)
        return self._remember(result) if here else result

    def _remember(self, result: Any) -> Any:
        """Remember a tensor as the host's; keeping it alive prevents its `id` from being reused."""
        if isinstance(result, Tensor):
            self._on_host[id(result)] = result
        return result


def _without_device(args: Sequence[Any], given: dict[str, Any]) -> tuple[list[Any], dict[str, Any], bool]:
    """Return the arguments of `Tensor.to` without the device, and whether the device was the host."""
    devices = [arg for arg in (*args[1:], given.pop("device", None)) if isinstance(arg, torch.device | str)]
    rest = [arg for arg in args if not isinstance(arg, torch.device | str)]
    to_host = any(torch.device(device).type == "cpu" for device in devices)
    return (rest if len(rest) > 1 or given else [*rest, rest[0].dtype]), given, to_host
