"""Run every strategy on a CUDA device where a hidden host read raises: `python benchmarks/on_cuda.py`."""

import time
from contextlib import contextmanager

import torch
from growth import Run, strategies
from measuring import Table, duration, in_turn, median, ratio
from parameter_sets import PARAMETER_SETS, with_gradients
from torch.nn.utils import clip_grad_norm_

from lightning_clip import Gradients, NormClip, clip_

READS = {"SkipAbove", "SkipSpikes"}  # read once per step, as documented


@contextmanager
def without_reads(mode="error"):
    """Raise if the host waits for the device."""
    torch.cuda.set_sync_debug_mode(mode)
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def measure(*, steps: int = 200) -> Table:
    """Return the table."""
    table = Table("CUDA", ("what", "ours", "torch", "ours / torch"))
    torch.set_default_device("cuda")
    for name, make in strategies().items():
        run = Run(make, 3)  # the setup in the first steps may read
        with without_reads("default" if name in READS else "error"):
            for _ in range(steps):
                run()
        table.add(f"{name}: {steps} steps", "reads" if name in READS else "no read", "", "")
    for name, make in PARAMETER_SETS.items():
        params = list(with_gradients(make()).parameters())
        names = [str(i) for i in range(len(params))]

        def ours(names: list[str] = names, params: list = params) -> None:
            clip_(Gradients(names, params), NormClip(1.0))
            torch.cuda.synchronize()

        def theirs(params: list = params) -> None:
            clip_grad_norm_(params, 1.0, foreach=True)
            torch.cuda.synchronize()

        times = in_turn({"ours": ours, "torch": theirs}, rounds=steps, clock=time.perf_counter)
        shown = [duration(median(one)) for one in times.values()]
        table.add(f"{name}: a step", *shown, f"{ratio(times, 'ours', 'torch'):.2f}")
    return table


if __name__ == "__main__":
    if torch.cuda.is_available():
        measure().show()
    else:
        print("There is no CUDA device: nothing was measured.")
