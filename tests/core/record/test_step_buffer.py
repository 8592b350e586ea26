import math
from dataclasses import fields

import pytest
import torch

from lightning_clip.core import PendingStep, StepBuffer, StepRecord
from lightning_clip.core.record import step_buffer
from lightning_clip.core.record.pending_step import Place


def pending(
    step: int = 0, optimizer: int = 0, norms: torch.Tensor | None = None, coefs: object = 1.0, **fields: object
) -> PendingStep:
    norms = torch.tensor([3.0, 4.0]) if norms is None else norms
    coefs = torch.tensor(coefs) if isinstance(coefs, float | list) else coefs
    names = tuple("abcdef"[: len(norms)])
    return PendingStep(step, optimizer, "Some()", names, norms.norm(), norms, coefs, **fields)


def record_of(*steps: PendingStep) -> StepRecord:
    buffer = StepBuffer()
    for step in steps:
        buffer.add(step)
    return buffer.flush()[-1]


def test_flush_reads_everything_in_order_and_empties_the_buffer():
    """Each record has the numbers of its pending step."""
    buffer = StepBuffer()
    for step in range(3):
        buffer.add(pending(step, norms=torch.tensor([float(step), 0.0]), loss=torch.tensor(10.0 * step)))
    assert len(buffer) == 3
    records = buffer.flush()
    assert [(r.step, r.norm_before, r.loss) for r in records] == [(0, 0.0, 0.0), (1, 1.0, 10.0), (2, 2.0, 20.0)]
    assert len(buffer) == 0
    assert buffer.flush() == []


def test_batches_learning_rate_and_largest_gradient_are_recorded():
    """The place is copied, the learning rate may be a tensor, and the largest gradient is named with its share."""
    place = Place(epoch=3, first_batch=16, batch=19)
    record = record_of(pending(place=place, learning_rate=torch.tensor(0.5)))
    assert (record.epoch, record.first_batch, record.batch, record.learning_rate) == (3, 16, 19, 0.5)
    assert (record.top_param, record.top_share) == ("b", 0.64)
    assert record_of(pending(learning_rate=0.25)).learning_rate == 0.25
    bad = record_of(pending(norms=torch.tensor([9.0, math.nan, 1.0])))
    assert (bad.top_param, bad.top_share) == ("b", None)
    nothing = record_of(pending(norms=torch.zeros(0)))
    assert (nothing.top_param, nothing.top_share, nothing.epoch, nothing.learning_rate) == (None, None, None, None)


def test_every_field_is_read():
    """Every tensor ends up in the field that it came from."""
    record = record_of(
        pending(
            4,
            1,
            coefs=None,
            norm_after=torch.tensor(2.5),
            param_norms_after=torch.tensor([1.5, 2.0]),
            threshold=torch.tensor(2.0),
            skipped=torch.tensor(False),
            loss=torch.tensor(0.25),
            watched={"A": torch.tensor(0.5), "B": torch.tensor(0.75)},
        )
    )
    assert (record.step, record.optimizer, record.strategy) == (4, 1, "Some()")
    assert (record.norm_before, record.norm_after, record.clip_coef) == (5.0, 2.5, 0.5)
    assert (record.threshold, record.loss, record.watched) == (2.0, 0.25, {"A": 0.5, "B": 0.75})
    assert (record.clipped, record.skipped, record.finite) == (True, False, True)
    assert record.params.before.tolist() == [3.0, 4.0]
    assert record.params.clipped.tolist() == [True, True]


def test_the_norm_after_follows_from_factors():
    """The norm after is computed from a common factor or from one factor per gradient."""
    assert record_of(pending(coefs=0.5)).norm_after == 2.5
    assert record_of(pending(coefs=[1.0, 0.5])).norm_after == pytest.approx(math.sqrt(9 + 4))
    assert record_of(pending(coefs=[1.0, 0.5])).params.clipped.tolist() == [False, True]


def test_a_single_parameter_with_its_own_factor_is_no_special_case():
    """Factors of shape `(1,)` and `()` mean the same for one gradient."""
    one = torch.tensor([4.0])
    assert (
        record_of(pending(norms=one, coefs=[0.5])).norm_after
        == record_of(pending(norms=one, coefs=0.5)).norm_after
        == 2
    )


def test_a_skip_leaves_nothing_and_clips_nothing():
    """The norm after is 0 and no parameter counts as clipped, whatever the factors were."""
    record = record_of(pending(coefs=0.5, skipped=torch.tensor(True)))
    assert (record.norm_after, record.clip_coef, record.clipped, record.skipped) == (0.0, 1.0, False, True)
    assert record.params.clipped.tolist() == [False, False]


def test_a_step_without_gradients_is_a_record_too():
    """Its record has a norm of 0 and nothing clipped."""
    record = record_of(pending(norms=torch.zeros(0)))
    assert (record.norm_before, record.clipped, record.params.names) == (0.0, False, ())


def test_a_second_evaluation_of_a_step_replaces_the_first():
    """LBFGS evaluates a step several times; only the last evaluation gives a record."""
    buffer = StepBuffer()
    for norm in (1.0, 2.0, 3.0):
        buffer.add(pending(7, norms=torch.tensor([norm])))
    buffer.add(pending(8, norms=torch.tensor([4.0])))
    assert [(r.step, r.norm_before) for r in buffer.flush()] == [(7, 3.0), (8, 4.0)]


def test_optimizers_of_the_same_step_do_not_replace_each_other():
    """Steps of different optimizers are kept even if their number is the same."""
    buffer = StepBuffer()
    for optimizer in (0, 1):
        buffer.add(pending(7, optimizer))
    assert [(r.step, r.optimizer) for r in buffer.flush()] == [(7, 0), (7, 1)]


def far(name: str) -> tuple[type[torch.Tensor], list[int]]:
    """Return a tensor class that pretends to be on an accelerator, and a list of its copies to the host."""
    copies: list[int] = []

    class Far(torch.Tensor):
        device, is_cpu = torch.device(name), False

        def cpu(self):
            copies.append(self.numel())
            return self.as_subclass(torch.Tensor)

        def numpy(self):
            pytest.fail("read without a copy")

        def double(self):
            pytest.fail("float64 does not exist on every accelerator")

    return Far, copies


def test_one_copy_from_each_device_reads_everything():
    """However many steps and fields are pending, there is one copy from each device."""
    near, first_copies = far("cuda:0")
    other, second_copies = far("cuda:1")
    buffer = StepBuffer()
    for step in range(5):
        far_step = pending(step, norms=torch.tensor([3.0, 4.0 * step]).as_subclass(near), coefs=[0.5, 1.0])
        far_step.coefs = far_step.coefs.as_subclass(near)
        far_step.loss = torch.tensor(float(step)).as_subclass(other)
        far_step.threshold = torch.tensor(2.0)
        buffer.add(far_step)
    records = buffer.flush()
    assert [len(first_copies), len(second_copies)] == [1, 1]
    assert [record.loss for record in records] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert [record.norm_before for record in records] == pytest.approx([math.hypot(3.0, 4.0 * k) for k in range(5)])
    assert [record.threshold for record in records] == [2.0] * 5


def test_a_record_holds_plain_numbers_only():
    """No tensor is left after a flush."""
    record = record_of(pending(threshold=torch.tensor(1.0), skipped=torch.tensor(False), loss=torch.tensor(1.0)))
    plain = {field.name: type(getattr(record, field.name)) for field in fields(record) if field.name != "params"}
    assert set(plain.values()) <= {int, float, bool, str, dict, type(None)}


def test_half_precision_numbers_are_read_exactly():
    """Values of mixed dtypes share one copy without losing digits."""
    loss, norms = torch.tensor(1.5, dtype=torch.bfloat16), torch.tensor([1 / 3], dtype=torch.float64)
    record = record_of(pending(norms=norms, loss=loss))
    assert record.norm_before == 1 / 3
    assert record.loss == 1.5


def test_gate_norms_are_read_with_the_rest(monkeypatch: pytest.MonkeyPatch):
    """Gate norms are read in the same copy and assigned to their parameters."""
    reads = []
    read = step_buffer._read
    monkeypatch.setattr(step_buffer, "_read", lambda pieces: reads.append(len(pieces)) or read(pieces))
    gates = {"a": torch.tensor([1.0, 2.0, 3.0, 4.0]), "b": torch.tensor([5.0, 6.0, 7.0])}
    record = record_of(pending(watched={"A": torch.tensor(0.5)}, gate_norms=gates, loss=torch.tensor(2.0)))
    assert len(reads) == 1
    assert record.params.gates == {"a": [1.0, 2.0, 3.0, 4.0], "b": [5.0, 6.0, 7.0]}
    assert (record.watched, record.loss) == ({"A": 0.5}, 2.0)
    assert record_of(pending()).params.gates == {}
