"""What a diagnosis says about spikes: how many, in which batches, how they repeat, what clipping did."""

from dataclasses import replace

import numpy as np

from lightning_clip.core import History, RunInfo
from lightning_clip.reports import Evidence, Finding, Severity, diagnose
from lightning_clip.reports.spikes import find_spikes, running_medians
from tests.support.recorded import history_of, record

QUIET = np.exp(0.3 * np.random.default_rng(0).standard_normal(240)).tolist()


def with_spikes(*steps: int, height: float = 3000.0) -> list[float]:
    return [height if step in steps else norm for step, norm in enumerate(QUIET)]


def spikes_in(history: History) -> list[Finding]:
    return [finding for finding in diagnose(Evidence.of(history, RunInfo())) if finding.kind == "spikes"]


def test_the_same_batch_of_each_epoch_is_named():
    """Six spikes at batch 20 of 40 are one bad batch, with the worst five and the place of each."""
    history = history_of(with_spikes(*range(20, 240, 40)), batches_per_epoch=40)
    (finding,) = spikes_in(history)
    assert finding.severity is Severity.WARNING
    assert finding.title.startswith("6 spikes, 2,")
    assert finding.title.endswith(" times the median of the steps before: every 40 steps, batch 20 of each epoch")
    assert finding.detail.count("batch 20; 3,000)") == 5
    assert finding.detail.endswith("All of them reached the optimizer at full length.")
    assert "look at the inputs and targets of batch 20" in finding.remedy
    assert finding.code[-2].startswith("clipping = GradientClipping(NormClip(max_norm=1.")


def test_a_batch_that_is_bad_in_most_epochs_is_named_with_their_number():
    """Five of six epochs are enough to name the batch, beside one other spike."""
    (finding,) = spikes_in(history_of(with_spikes(20, 60, 100, 140, 180, 233), batches_per_epoch=40))
    assert finding.title.endswith(": 5 are batch 20, in 5 of 6 epochs")


def test_one_spike_in_each_epoch_is_a_bad_sample_in_shuffled_data():
    """One in each epoch, in another batch each time; spikes at random places are neither."""
    (finding,) = spikes_in(history_of(with_spikes(3, 61, 99, 127, 190, 222), batches_per_epoch=40))
    assert finding.title.endswith(": one in each epoch")
    assert "one bad sample in shuffled data" in finding.remedy
    (finding,) = spikes_in(history_of(with_spikes(7, 15, 99, 101, 113, 180), batches_per_epoch=40))
    assert finding.title.endswith("the median of the steps before")


def test_without_batches_the_distance_is_told():
    """Records of the first version do not know their batch; equal distances of four spikes or more are no chance."""
    (finding,) = spikes_in(history_of(with_spikes(*range(20, 240, 40))))
    assert finding.title.endswith(": every 40 steps")
    (finding,) = spikes_in(history_of(with_spikes(20, 60, 100)))
    assert "every" not in finding.title


def test_accumulated_batches_are_told_as_a_range_and_chunks_by_their_number():
    """The spike of accumulated batches is one of them; a batch that makes several steps has chunks."""
    norms = with_spikes(*range(5, 240, 10))
    accumulated = [
        replace(record(i, norm), epoch=i // 10, first_batch=4 * (i % 10), batch=4 * (i % 10) + 3)
        for i, norm in enumerate(norms)
    ]
    history = History()
    history.extend(accumulated)
    assert spikes_in(history)[0].title.endswith("batches 20–23 of each epoch")
    chunks = History()
    chunks.extend([replace(one, first_batch=(i % 10) // 5, batch=(i % 10) // 5) for i, one in enumerate(accumulated)])
    assert "epoch 0, batch 1, chunk 0" in spikes_in(chunks)[0].detail


def test_what_clipping_did_is_told():
    """Clipped spikes that do not repeat are what clipping is for; those that repeat are named with what is left."""
    assert spikes_in(history_of(with_spikes(50, 99, height=30.0), max_norm=2.0)) == []
    (finding,) = spikes_in(history_of(with_spikes(*range(20, 240, 40)), max_norm=2.0, batches_per_epoch=40))
    assert finding.severity is Severity.WARNING
    assert finding.detail.endswith("All of them were clipped to a norm of 2.")
    assert finding.code == ()
    skipped = history_of(with_spikes(50), skipped=[50])
    assert spikes_in(skipped)[0].detail.endswith("It was skipped.")


def test_what_became_of_each_spike_is_told():
    """Some were clipped, one was skipped, and before there was a limit, one passed."""
    clipped = history_of(with_spikes(*range(20, 240, 40)), max_norm=2.0, batches_per_epoch=40)
    passed = history_of(with_spikes(*range(20, 240, 40)), batches_per_epoch=40)
    mixed = History()
    mixed.extend([passed[i] if i < 40 else clipped[i] for i in range(200)])
    mixed.extend([replace(one, skipped=True, clipped=False, norm_after=0.0) for one in list(clipped)[200:]])
    (finding,) = spikes_in(mixed)
    assert finding.detail.endswith(
        "Of these, 4 were clipped to a norm of 2, 1 was skipped and 1 reached the optimizer at full length."
    )


def test_noise_a_new_level_an_explosion_and_a_falling_norm_are_no_spikes():
    """A spike is ten times the median, comes back soon, and is no part of an explosion."""
    assert spikes_in(history_of(QUIET)) == []
    assert spikes_in(history_of([*QUIET, *(20 * norm for norm in QUIET)])) == []
    assert spikes_in(history_of([500.0 / (1 + i) for i in range(200)])) == []
    assert spikes_in(history_of([*QUIET, 30.0, 300.0, 3000.0])) == []
    assert spikes_in(history_of([1.0, 1000.0, 1.0])) == []


def test_spikes_among_norms_that_vary_are_found():
    """Chunks of sequences have norms over two orders of magnitude; a hundred times their median still stands out."""
    norms = np.exp(0.7 * np.random.default_rng(2).standard_normal(240))
    norms[30::60] = 150.0
    assert [spike.record.step for spike in find_spikes([record(i, n) for i, n in enumerate(norms.tolist())])] == [
        *(30, 90, 150, 210)
    ]


def test_a_spike_within_the_first_steps_is_found():
    """With few norms before it, the norms after it tell."""
    assert [spike.record.step for spike in find_spikes([record(i, n) for i, n in enumerate(with_spikes(2))])] == [2]


def test_the_last_step_is_a_spike_if_there_were_others():
    """One huge last norm may be the beginning of an explosion."""
    many, single = with_spikes(39, 79, 119, 159, 199, 239), with_spikes(239)
    assert len(find_spikes([record(i, n) for i, n in enumerate(many)])) == 6
    assert find_spikes([record(i, n) for i, n in enumerate(single)]) == []


def test_running_medians_are_those_of_numpy():
    """Each is the median of up to 200 norms before; of an even number, the geometric mean of the middle two."""
    norms = np.random.default_rng(1).lognormal(size=500).tolist()
    expected = [float(np.exp(np.median(np.log(norms[max(0, i - 200) : i])))) for i in range(1, 500)]
    np.testing.assert_allclose(running_medians(norms)[1:], expected)
