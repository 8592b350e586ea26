"""`in_parallel`: the calls of a function through joblib, with each result as it comes."""

import warnings
from collections.abc import Callable, Generator, Iterable
from typing import Any, TypeVar

from joblib import Parallel, delayed

T = TypeVar("T")


def in_parallel(
    function: Callable[..., T], calls: Iterable[tuple[Any, ...]], jobs: int, **backend: Any
) -> Generator[T]:
    """Make the calls of a function, each by itself, and none before there is room for it.

    Args:
        function: What to call.
        calls: The arguments of each call.
        jobs: How many calls at a time.
        backend: The backend of joblib, and arguments for it.

    Yields:
        What the calls return, in any order.
    """
    parallel = Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1, pre_dispatch=jobs, **backend)
    results = parallel(delayed(function)(*arguments) for arguments in calls)
    try:
        for result in results:  # noqa: UP028 (what is delegated to would be closed before `finally`)
            yield result
    finally:
        with warnings.catch_warnings():  # joblib warns of the calls whose results nobody waits for any more
            warnings.simplefilter("ignore")
            results.close()
