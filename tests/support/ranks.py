"""Runs a function in two processes that can communicate."""

from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def on_two_ranks(function: Callable[[int], None], directory: Path) -> None:
    """Call `function(rank)` in two forked processes with a gloo process group; re-raises the first error of either."""
    store = directory / "store"
    mp.start_processes(_join, args=(function, str(store)), nprocs=2, start_method="fork")


def _join(rank: int, function: Callable[[int], None], store: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    try:
        function(rank)
    finally:
        dist.destroy_process_group()
