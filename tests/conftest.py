"""One thread for torch: tests share two cores."""

from collections.abc import Iterator

import pytest
import torch

from tests.support import fresh


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _nothing_left_running() -> Iterator[None]:
    yield
    fresh.stop()


@pytest.fixture(autouse=True)
def _no_seed_of_an_earlier_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """`seed_everything` leaves its seed in the environment, where Lightning's samplers find it."""
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
