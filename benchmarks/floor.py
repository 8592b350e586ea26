"""The least that a rule per element or unit takes in eager PyTorch: `python benchmarks/floor.py`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from measuring import Table, in_turn, ratio, spread
from parameter_sets import many, with_gradients
from rules import LIMIT, NORM, Ours
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from torch.utils._python_dispatch import TorchDispatchMode

import lightning_clip
from lightning_clip.functional.scratch import CACHED

NOTES = (
    "On 300 tensors of 64 × 64, where the limit acts. The floor is the arithmetic of the rule alone, written by hand "
    "for this one shape: norms before, the rule, norms after, in blocks that fit into the cache and in memory that is "
    "kept from step to step. It has no names, no records, no warmup, and no check for zero, NaN or infinity.",
    "`passes` counts the memory that all operations read and write, in units of the gradients. `clip_grad_norm_` makes "
    "three: it reads for the norm, and reads and writes for the product. Eager PyTorch cannot make one operation of "
    "several, so each term of a formula is one to three passes, and the time follows their number.",
    "What was tried beyond this: blocks of 2^13 to 2^17 elements (2^16 is the fastest; below it, the calls cost more "
    "than the cache saves), and norms after from a copy that is still in the cache (the copy costs what it saves).",
    "Where `CoordinateClip` misses its bound of 3, the floor alone takes about as much. Factors in memory that is kept "
    "from step to step took 7% to 9% less, but another float per element for the whole run; measuring each block right "
    "after it is multiplied saves under 5% of a step.",
    "Where `AGC` misses it, what is left are four copies into the cache: gradients for the norms before, for the units "
    "and for the norms after, and weights. Blocks of 2^15 and 2^17 elements were not measurably faster, and to get the "
    "first two from one copy, the rule would have to measure what is recorded.",
    "`SpikeClip` is shown where every block has a spike, with θ = 0.1. At its own θ a block without a spike takes half "
    "of the passes, and the figure is in the table above.",
)


class Passes(TorchDispatchMode):
    """Counts the bytes that operations read and write; views are left out."""

    def __init__(self) -> None:
        super().__init__()
        self.nbytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            read = _tensors(args)
            written = _tensors([result]) or (read[: len(args[0])] if str(func).startswith("aten._foreach") else [])
            self.nbytes += sum(tensor.nbytes for tensor in (*read, *written))
        return result


def _tensors(values: Any) -> list[Tensor]:
    if isinstance(values, Tensor):
        return [values]
    return [tensor for value in values for tensor in _tensors(value)] if isinstance(values, list | tuple) else []


class Floors:
    """The four rules, each a function that makes one step.

    Args:
        params: The parameters, all of one shape, with gradients.
    """

    def __init__(self, params: Sequence[Tensor]) -> None:
        shape, size = params[0].shape, params[0].numel()
        each = CACHED // size
        self.params = [list(params[i : i + each]) for i in range(0, len(params), each)]
        self.history = [torch.full((len(block), *shape), 1e-3) for block in self.params]
        self.factors = [torch.empty_like(history) for history in self.history]
        self.views = [factors.unbind() for factors in self.factors]
        self.memory = torch.empty(2, each, *shape)

    def _blocks(self) -> Any:
        for block, history, factors, views in zip(self.params, self.history, self.factors, self.views, strict=True):
            grads = [param.grad for param in block]
            yield block, grads, history, factors, views, self.memory[:, : len(block)].unbind()

    def _norms(self) -> None:
        for _, grads, *_ in self._blocks():
            torch._foreach_norm(grads)

    @torch.no_grad()
    def coordinate_clip(self) -> None:
        self._norms()
        for _, grads, means, factors, views, (sizes, spare) in self._blocks():
            torch.stack(grads, out=sizes).abs_()
            torch.maximum(torch.add(sizes, 1e-5, out=spare), means, out=spare)
            torch.div(means, spare, out=factors)
            means.lerp_(torch.minimum(torch.mul(means, 3.0, out=spare), sizes, out=spare), 0.01)
            torch._foreach_mul_(grads, views)
            torch._foreach_norm(grads)

    @torch.no_grad()
    def spike_clip(self) -> None:
        self._norms()
        for _, grads, means, factors, views, (squares, spare) in self._blocks():
            squares = torch.stack(grads, out=squares)
            squares.mul_(squares)
            torch.div(torch.mul(means, 0.1, out=spare), squares, out=factors).sqrt_().clamp_(max=1.0)
            means.lerp_(torch.minimum(torch.mul(means, 3.0, out=spare), squares, out=spare), 0.01)
            torch._foreach_mul_(grads, views)
            torch._foreach_norm(grads)

    @torch.no_grad()
    def update_rms_clip(self) -> None:
        self._norms()
        for _, grads, moments, _, _, (gradient, value) in self._blocks():
            torch.stack(grads, out=gradient)
            value.copy_(moments).mul_(0.999).addcmul_(gradient, gradient, value=0.001).clamp_(min=1e-12).sqrt_()
            rms = torch.linalg.vector_norm(gradient.div_(value), dim=(1, 2))
            torch._foreach_mul_(grads, (1 / rms).unbind())

    @torch.no_grad()
    def agc(self) -> None:
        self._norms()
        for block, grads, _, _, _, (gradient, weight) in self._blocks():
            norms = torch.linalg.vector_norm(torch.stack(grads, out=gradient), dim=2, keepdim=True)
            weights = torch.linalg.vector_norm(torch.stack(block, out=weight), dim=2, keepdim=True)
            torch._foreach_mul_(grads, weights.mul_(0.01).div_(norms).clamp_(max=1.0).unbind())
            torch._foreach_norm(grads)


def measure(*, rounds: int = 20, warm_up: int = 30) -> Table:
    """Return the table.

    Args:
        rounds: The number of timed rounds of ten steps.
        warm_up: The number of steps before them.
    """
    columns = ("rule", "floor / torch", "ours / torch", "passes of the floor", "of ours", "of torch")
    table = Table("The floor of rules per element and unit", columns, notes=NOTES)
    for name in ("AGC", "CoordinateClip", "SpikeClip", "UpdateRMSClip"):
        module = with_gradients(many(300))
        params = list(module.parameters())
        grads = [param.grad.clone() for param in params]
        torch._foreach_mul_(grads, NORM / torch.stack(torch._foreach_norm(grads)).norm())
        # At SpikeClip's own θ, nothing would act; 0.1 limits most elements.
        strategy = lightning_clip.SpikeClip(0.1) if name == "SpikeClip" else getattr(lightning_clip, name)()
        ours, floors = Ours(module, strategy), Floors(params)
        floor = {
            "AGC": floors.agc,
            "CoordinateClip": floors.coordinate_clip,
            "SpikeClip": floors.spike_clip,
            "UpdateRMSClip": floors.update_rms_clip,
        }[name]
        sides: dict[str, Callable[[], object]] = {
            "floor": floor,
            "ours": ours,
            "torch": lambda params=params: clip_grad_norm_(params, LIMIT, foreach=True),
        }

        def before(params: list[Any] = params, grads: list[Tensor] = grads) -> None:
            torch._foreach_copy_([param.grad for param in params], grads)

        for _ in range(warm_up):
            before()
            ours()
        ours.flush()
        times = in_turn(sides, rounds=rounds, steps=10, before=before)
        moved = {}
        for side, step in sides.items():
            before()
            with Passes() as passes:
                step()
            moved[side] = passes.nbytes / sum(grad.nbytes for grad in grads)
        shown = [f"{ratio(times, side, 'torch'):.2f} [{spread(times, side, 'torch')}]" for side in ("floor", "ours")]
        table.add(name, *shown, *(f"{value:.1f}" for value in moved.values()))
    return table


if __name__ == "__main__":
    torch.set_num_threads(1)
    measure().show()
