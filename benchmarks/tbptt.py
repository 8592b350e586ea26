"""What does truncated backpropagation through time cost? Run `python benchmarks/tbptt.py`."""

import ctypes
import gc
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import lightning.pytorch as pl
import torch
from fits import fit, quiet, rounds_of
from measuring import Table, duration, median, python, ratio, verdict
from torch import Tensor, nn

from lightning_clip import GradientMonitor, TBPTTSequenceModule, TemporalGradientMonitor

ROWS, FEATURES, HIDDEN, CHUNK = 32, 6, 256, 50
NOTES = (
    f"The network is an LSTM of {HIDDEN} units and a linear layer, with {ROWS} rows, a target at each step, Adam and "
    f"chunks of {CHUNK} steps. Memory is the peak of the resident set of a separate process, minus its size before the "
    "fit, and includes the batch. `MALLOC_MMAP_THRESHOLD_` tells glibc to return large blocks when they are freed: "
    "what it would otherwise keep varies from run to run by more than the effect.",
    "The plain loop trains the same network without Lightning; it splits, detaches, steps and adds up by hand. The "
    "fits alternate and swap order.",
    "The temporal monitor measures at its default interval, every 100 optimizer steps, next to a `GradientMonitor`.",
)


def batch_of(steps: int) -> tuple[Tensor, Tensor]:
    """Return inputs and a target at each step."""
    torch.manual_seed(0)
    return torch.randn(ROWS, steps, FEATURES), torch.randn(ROWS, steps, 1)


def network(chunk: int = CHUNK) -> TBPTTSequenceModule:
    """Return the module that is measured."""
    return TBPTTSequenceModule(
        FEATURES, 1, truncated_bptt_steps=chunk, task="regression", many_to_many=True, hidden_size=HIDDEN
    )


def fit_network(steps: int, batches: int, callbacks: Sequence[pl.Callback] = ()) -> float:
    """Fit `batches` batches of `steps` time steps and return the seconds per batch."""
    return fit(network(), batch_of(steps), batches, callbacks, warm_up=1, steps_per_batch=-(-steps // CHUNK))


def plain_loop(steps: int, batches: int) -> float:
    """Do the same by hand and return the seconds per batch."""
    lstm, head = nn.LSTM(FEATURES, HIDDEN, batch_first=True), nn.Linear(HIDDEN, 1)
    params = [*lstm.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(params, lr=0.01)
    inputs, targets = batch_of(steps)
    start = 0.0
    for number in range(batches + 1):
        if number == 1:
            start = time.process_time()
        state = None
        for chunk, target in zip(inputs.split(CHUNK, 1), targets.split(CHUNK, 1), strict=True):
            outputs, state = lstm(chunk, state)
            loss = nn.functional.mse_loss(head(outputs), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            state = tuple(part.detach() for part in state)
    return (time.process_time() - start) / batches


def peak_of_this_process(steps: int) -> int:
    """Return the bytes by which a fit raises the peak of the resident set."""
    quiet()
    fit_network(CHUNK, 1)  # excludes what Lightning and torch load on first use
    batch = batch_of(steps)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _status("VmRSS")
    fit(network(), batch, 2, [], warm_up=1, steps_per_batch=-(-steps // CHUNK))
    return _status("VmHWM") - before + sum(tensor.nbytes for tensor in batch)


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))


def peak(steps: int) -> int:
    """Measure the same in a separate process."""
    return int(python(str(Path(__file__)), str(steps), MALLOC_MMAP_THRESHOLD_="65536")[-1])


def measure(*, rounds: int = 3, long: int = 2_000, batches: int = 2, watched_steps: int = 200) -> Table:
    """Return the table.

    Args:
        rounds: The number of fits per side.
        long: The length of the long sequences, in time steps.
        batches: The number of batches per fit of long sequences.
        watched_steps: The number of optimizer steps per fit with the temporal monitor.
    """
    quiet()
    table = Table("TBPTT", ("what", "ours", "other", "ours / other", "target"), notes=NOTES)
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
