"""What the CPU that runs the tests has kernels for."""

from functools import cache

import pytest
import torch
from torch import nn


@cache
def why_no_lstm_in_bf16() -> str:
    """Why torch cannot run its own LSTM under autocast to bfloat16 here; empty if it can."""
    try:
        with torch.autocast("cpu", torch.bfloat16):
            nn.LSTM(2, 3)(torch.zeros(4, 1, 2))
    except RuntimeError as error:
        return f"torch's own nn.LSTM does not run in bfloat16 on this CPU: {str(error).partition('.')[0]}"
    return ""


def skip_without_kernel(cell: str, precision: str) -> None:
    """Skip a test of an LSTM in mixed precision where torch alone cannot run one."""
    if cell == "lstm" and precision == "bf16-mixed" and (reason := why_no_lstm_in_bf16()):
        pytest.skip(reason)
