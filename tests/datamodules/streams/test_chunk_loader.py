"""`ChunkLoader`: chunks in order, from any position."""

import numpy as np
import pytest
from lightning.fabric.utilities.data import _set_sampler_epoch
from lightning.fabric.utilities.types import _Stateful

from lightning_clip.datamodules import FixedLengths, NormalLengths, RandomTruncation
from lightning_clip.datamodules.streams.chunk_loader import ChunkLoader, ChunkSampler
from lightning_clip.datamodules.streams.streams import Part, Streams


def loader(n=301, k=8, law=None, seed=0, n_streams=4):
    streams = Streams(Part(np.arange(n), 0, n), n_streams=n_streams, rows=range(n_streams))
    return ChunkLoader(streams, ChunkSampler(streams.steps, k, law or FixedLengths(), seed=seed))


def starts(chunks):
    return [(chunk.start, chunk.inputs.shape[1]) for chunk in chunks]


random_laws = pytest.mark.parametrize(
    "law", [NormalLengths(3.0, min_steps=2), RandomTruncation(0.4)], ids=["normal", "truncation"]
)


def test_chunks_follow_each_other():
    """Chunks are consecutive, and the last one has the remaining steps."""
    made = loader()
    assert len(made) == 10
    assert starts(made) == [*((start, 8) for start in range(0, 72, 8)), (72, 3)]


@random_laws
def test_random_lengths_are_in_another_order_in_each_epoch(law):
    """Every epoch has the same lengths in a different order, which the seed sets."""
    made, orders = loader(2001, law=law), []
    for epoch in (0, 1, 2, 0):
        _set_sampler_epoch(made, epoch)
        chunks = starts(made)
        assert len(chunks) == len(made)
        assert [start for start, _ in chunks] == [0, *np.cumsum([length for _, length in chunks])[:-1]]
        orders.append([length for _, length in chunks])
    assert orders[0] == orders[3]
    assert orders[0] != orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(orders[1]) == sorted(orders[2])
    assert starts(loader(2001, law=law, seed=1)) != starts(loader(2001, law=law))
    assert starts(loader(2001, law=law, seed=1)) == starts(loader(2001, law=law, seed=1))


def test_fixed_lengths_do_not_change():
    """Fixed lengths are the same in every epoch."""
    made = loader()
    first = starts(made)
    made.sampler.set_epoch(3)
    assert starts(made) == first


@random_laws
@pytest.mark.parametrize("taken", [0, 1, 5])
def test_it_goes_on_where_it_was_saved(law, taken):
    """It resumes in the epoch in which it was saved; the next epoch is complete."""
    full, resumed = loader(law=law), loader(law=law)
    for made in (full, resumed):
        made.sampler.set_epoch(2)
    chunks = iter(full)
    before = [next(chunks) for _ in range(taken)]
    resumed.load_state_dict(full.state_dict())
    iter(resumed)  # Lightning may create an iterator that it does not use
    assert starts(before) + starts(resumed) == starts(full)
    resumed.sampler.set_epoch(3)
    full.sampler.set_epoch(3)
    assert starts(resumed) == starts(full)


def test_the_position_belongs_to_an_epoch():
    """In a different epoch, no chunk is skipped."""
    full, resumed = loader(), loader()
    chunks = iter(full)
    next(chunks)
    resumed.load_state_dict(full.state_dict())
    resumed.sampler.set_epoch(1)
    assert starts(resumed) == starts(loader())


def test_the_end_of_an_epoch_is_the_start_of_the_next():
    """A position at the end of an epoch starts the next one, even with other streams."""
    full = loader()
    assert len(list(full)) == 10
    for other in (loader(), loader(n_streams=2)):
        expected = starts(other)
        other.load_state_dict(full.state_dict())
        assert starts(other) == expected


def test_it_saves_what_was_saved():
    """A loader that was restored but not read has the same state."""
    full, resumed = loader(), loader()
    chunks = iter(full)
    for _ in range(4):
        next(chunks)
    resumed.load_state_dict(full.state_dict())
    assert resumed.state_dict() == full.state_dict()


@pytest.mark.parametrize("other", [{"n_streams": 2}, {"n": 401}, {"k": 4}, {"law": NormalLengths(3.0, min_steps=2)}])
def test_a_position_in_other_streams_is_refused(other):
    """A position in other streams raises an error with both layouts and what must stay the same."""
    full = loader()
    next(iter(full))
    with pytest.raises(
        ValueError, match=r"within an epoch of streams with \{'n_streams': 4.*Resume with the same data, batch_size"
    ):
        loader(**other).load_state_dict(full.state_dict())


@random_laws
def test_another_seed_is_refused(law):
    """A different seed raises an error, because the lengths differ."""
    full = loader(2001, law=law)
    next(iter(full))
    with pytest.raises(ValueError, match="seed"):
        loader(2001, law=law, seed=5).load_state_dict(full.state_dict())


def test_lightning_knows_what_it_is():
    """Lightning sees a stateful loader with a length, and does not distribute its samples."""
    made = loader()
    assert isinstance(made, _Stateful)
    assert len(made.sampler) == len(made)
    assert not hasattr(made, "dataset")


def test_chunks_longer_than_the_stream():
    """Chunks are at most as long as the stream, and so is their nominal length."""
    (chunk,) = loader(n=41, k=64)
    assert chunk.nominal_steps == chunk.inputs.shape[1] == 10


def test_the_scale_of_messages_comes_with_the_law():
    """Chunks have the message scale of their lengths."""
    assert {chunk.message_scale for chunk in loader(law=RandomTruncation(0.5))} == {2.0}
    assert {chunk.message_scale for chunk in loader()} == {1.0}
