"""One thread for torch: tests share two cores."""

import gc
import os
import sys
from collections.abc import Iterator
from functools import cache

import pytest

from tests.support import fresh

# Programs that the tests start read what this process has compiled, even where Python was told to write nothing:
# to compile the package takes each of them longer than to run it.
sys.dont_write_bytecode = False

collect_ignore = ["guests"]  # they run in environments of their own


def pytest_collection_finish() -> None:
    """What has been imported and collected stays to the end, so no search for garbage has to go through it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    import torch  # here, because the process that only distributes the tests needs none

    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _nothing_left_running() -> Iterator[None]:
    yield
    fresh.stop()


@pytest.fixture(autouse=True, scope="session")
def _entry_points_are_read_once() -> Iterator[None]:
    """Each Trainer looks through the metadata of all installed packages for callbacks, a tenth of a small fit."""
    from lightning.fabric.utilities import registry

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "entry_points", cache(registry.entry_points))
        yield


@pytest.fixture(autouse=True)
def _no_seed_of_an_earlier_test() -> None:
    """`seed_everything` leaves its seed in the environment, where Lightning's samplers find it."""
    os.environ.pop("PL_GLOBAL_SEED", None)
