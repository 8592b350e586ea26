"""What truncated backpropagation through time takes: `python benchmarks/tbptt.py`."""

import ctypes
import gc
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import lightning.pytorch as pl
import torch
from measuring import Table, duration, median, python, ratio, verdict
from torch import Tensor, nn
from trainer import fit, quiet, rounds_of

from lightning_clip import GradientMonitor, TBPTTSequenceModule, TemporalGradientMonitor

ROWS, FEATURES, HIDDEN, CHUNK = 32, 6, 256, 50
NOTES = (
    f"An LSTM of {HIDDEN} units and a linear layer, {ROWS} rows, a target at each step, Adam, chunks of {CHUNK} steps. "
    "Memory is the peak of the resident set of a process of its own, above what it was before the fit; the batch "
    "itself is part of it. glibc is told to give large pieces back when they are freed (`MALLOC_MMAP_THRESHOLD_`): "
    "what it keeps for later differs from run to run by more than is measured.",
    "The plain loop is the same network, cut, detached, stepped and summed up by hand, without Lightning. Fits take "
    "turns; the ratio is the median over such rounds.",
    "The temporal monitor measures at its default interval, every 100 optimizer steps, beside a `GradientMonitor`.",
)


def batch_of(steps: int) -> tuple[Tensor, Tensor]:
    """Inputs and a target at each step."""
    torch.manual_seed(0)
    return torch.randn(ROWS, steps, FEATURES), torch.randn(ROWS, steps, 1)


def network(chunk: int = CHUNK) -> TBPTTSequenceModule:
    """The module that is measured."""
    return TBPTTSequenceModule(
        FEATURES, 1, truncated_bptt_steps=chunk, task="regression", many_to_many=True, hidden_size=HIDDEN
    )


def fit_network(steps: int, batches: int, callbacks: Sequence[pl.Callback] = ()) -> float:
    """Seconds a batch of a fit of so many batches of so many time steps."""
    return fit(network(), batch_of(steps), batches, callbacks, warm_up=1, steps_a_batch=-(-steps // CHUNK))


def plain_loop(steps: int, batches: int) -> float:
    """Seconds a batch of the same by hand."""
    lstm, head = nn.LSTM(FEATURES, HIDDEN, batch_first=True), nn.Linear(HIDDEN, 1)
    params = [*lstm.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(params, lr=0.01)
    inputs, targets = batch_of(steps)
    start = 0.0
    for number in range(batches + 1):
        if number == 1:
            start = time.perf_counter()
        state = None
        for chunk, target in zip(inputs.split(CHUNK, 1), targets.split(CHUNK, 1), strict=True):
            outputs, state = lstm(chunk, state)
            loss = nn.functional.mse_loss(head(outputs), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            state = tuple(part.detach() for part in state)
    return (time.perf_counter() - start) / batches


def peak_of_this_process(steps: int) -> int:
    """Bytes by which a fit raises the peak of the resident set."""
    quiet()
    fit_network(CHUNK, 1)  # what Lightning and torch load when they are first used is not counted
    batch = batch_of(steps)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _status("VmRSS")
    fit(network(), batch, 2, [], warm_up=1, steps_a_batch=-(-steps // CHUNK))
    return _status("VmHWM") - before + sum(tensor.nbytes for tensor in batch)


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))


def peak(steps: int) -> int:
    """The same in a process of its own."""
    return int(python(str(Path(__file__)), str(steps), MALLOC_MMAP_THRESHOLD_="65536")[-1])


def measure(*, rounds: int = 3, long: int = 2_000, batches: int = 2, watched_steps: int = 200) -> Table:
    """The table.

    Args:
        rounds: Fits of each.
        long: Time steps of the long sequences.
        batches: Batches of a fit of them.
        watched_steps: Optimizer steps of a fit with the temporal monitor.
    """
    quiet()
    table = Table("TBPTT", ("what", "ours", "other", "ours / other", "asked"), notes=NOTES)
    if Path("/proc/self/clear_refs").exists():
        peaks = peak(long), peak(CHUNK)
        value = peaks[0] / peaks[1]
        shown = [f"{one / 1e6:.0f} MB" for one in peaks]
        table.add(f"peak memory, T = {long:,} / T = {CHUNK}", *shown, f"{value:.2f}", verdict(value, at_most=1.25))
    loops = {"ours": lambda: fit_network(long, batches), "loop": lambda: plain_loop(long, batches)}
    times = rounds_of(loops, rounds)
    value = 1 / ratio(times, "ours", "loop")
    rates = [f"{ROWS * long / median(one) / 1e3:.0f} k steps/s" for one in times.values()]
    table.add("throughput, ours / plain PyTorch loop", *rates, f"{value:.2f}", verdict(value, at_least=0.9))
    monitors = {
        "with": lambda: fit_network(CHUNK, watched_steps, [GradientMonitor(), TemporalGradientMonitor()]),
        "without": lambda: fit_network(CHUNK, watched_steps, [GradientMonitor()]),
    }
    times = rounds_of(monitors, rounds)
    value, shown = ratio(times, "with", "without"), [duration(median(one)) for one in times.values()]
    table.add("a step with / without TemporalGradientMonitor", *shown, f"{value:.3f}", verdict(value, at_most=1.05))
    return table


if __name__ == "__main__":
    torch.set_num_threads(1)
    if len(sys.argv) > 1:
        print(peak_of_this_process(int(sys.argv[1])))
    else:
        measure().show()
