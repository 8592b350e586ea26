"""`SampleIndices`: observes which samples of the dataset are in each batch."""

from collections import deque
from collections.abc import Iterator
from typing import Any

from lightning.pytorch import Trainer
from torch.utils.data import DataLoader


class SampleIndices:
    """Reads along as the batch sampler of the training data draws, without drawing itself.

    A loader draws the indices of its batches in order and hands the batches out in the same order, however many workers
    fetch ahead. So the indices of the batch at hand are those at its position since the loader was started. They are
    unknown for an iterable dataset, several loaders, `batch_size=None`, `in_order=False`, and loaders that resume
    within an epoch by themselves.
    """

    def __init__(self) -> None:
        self._watched: dict[int, _WatchedSampler] = {}
        self._loaders: list[DataLoader[Any]] = []

    def join(self, trainer: Trainer) -> None:
        """See every loader that the strategy is about to use; before the data is loaded."""
        process, strategy = trainer.strategy.process_dataloader, trainer.strategy

        def processed(loader: object) -> object:
            result = process(loader)
            self._watch(result)
            return result

        vars(strategy)["process_dataloader"] = processed

    def leave(self, trainer: Trainer) -> None:
        """Restore the loaders and the strategy."""
        vars(trainer.strategy).pop("process_dataloader", None)
        for loader in self._loaders:
            watched = vars(loader).get("batch_sampler")
            if isinstance(watched, _WatchedSampler):
                vars(loader)["batch_sampler"] = watched.inner
        self._loaders, self._watched = [], {}

    def of_batch(self, trainer: Trainer) -> list[int] | None:
        """Return the dataset indices of the samples in the batch at hand; `None` if they cannot be told.

        Args:
            trainer: The trainer, at the start of a batch; call this once per batch.
        """
        watched = self._watched.get(id(trainer.train_dataloader))
        taken = _batches_taken(trainer)
        return None if watched is None or taken is None else watched.drawn_for(taken - 1)

    def _watch(self, loader: object) -> None:
        if not isinstance(loader, DataLoader) or loader.batch_sampler is None or hasattr(loader, "load_state_dict"):
            return
        if not getattr(loader, "in_order", True):
            return
        sampler: Any = loader.batch_sampler
        watched = sampler if isinstance(sampler, _WatchedSampler) else _WatchedSampler(sampler)
        vars(loader)["batch_sampler"] = watched  # a loader refuses `loader.batch_sampler = …`
        self._watched[id(loader)] = watched
        self._loaders.append(loader)


class _WatchedSampler:
    """A batch sampler that remembers what it has drawn and not yet handed out."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self._drawn: deque[list[int] | None] = deque()
        self._first = 0

    def __iter__(self) -> Iterator[Any]:
        self._drawn, self._first = deque(), 0
        drawn = self._drawn
        for indices in self.inner:
            drawn.append(list(indices) if set(map(type, indices)) <= {int} else None)
            yield indices

    def __len__(self) -> int:
        return len(self.inner)

    def __getattr__(self, name: str) -> Any:
        if name == "inner":
            raise AttributeError(name)
        return getattr(self.inner, name)

    def drawn_for(self, position: int) -> list[int] | None:
        """The indices at a position, from 0, since the sampler was started; what is before it is forgotten."""
        while self._first < position and self._drawn:
            self._drawn.popleft()
            self._first += 1
        return self._drawn[0] if self._first == position and self._drawn else None


def _batches_taken(trainer: Trainer) -> int | None:
    """How many batches training has taken since the loader was started; `None` if Lightning does not count them."""
    fetcher: Any = getattr(trainer.fit_loop, "_data_fetcher", None)
    fetched: int | None = getattr(fetcher, "fetched", None)
    return None if fetched is None else fetched - len(getattr(fetcher, "batches", ()))
