"""`StatefulMixin`: a resumed training goes on with the state, and a new one without."""

import pytest
import torch

from tests.support.streaming import SaveAt, Streaming, fit, streams_of
from tests.support.training import assert_same_weights

cells = pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])


LIMITS = {"epochs": {"max_epochs": 3}, "steps": {"max_steps": 21, "max_epochs": -1}}


@pytest.mark.parametrize(
    ("cell", "step", "limit"),
    [
        pytest.param(
            cell, step, limit, marks=() if cell == "lstm" or (step, limit) == (3, "epochs") else pytest.mark.slow
        )
        for cell in ("rnn", "lstm", "gru")
        for step in (1, 3, 9, 13)
        for limit in LIMITS
    ],
)
def test_resuming_inside_an_epoch_equals_not_stopping(tmp_path, cell, step, limit):
    """Resuming within any epoch gives the same chunks, losses and weights, bit for bit."""
    path, full, resumed = tmp_path / "mid.ckpt", Streaming(cell), Streaming(cell)
    fit(full, streams_of(), callbacks=[SaveAt(step, path)], **LIMITS[limit])
    fit(resumed, streams_of(), ckpt_path=path, **LIMITS[limit])
    assert full.starts[step:] == resumed.starts
    assert torch.equal(torch.stack(full.losses[step:]), torch.stack(resumed.losses))
    assert_same_weights(full, resumed)


@pytest.mark.parametrize("missing", ["state", "position"])
def test_without_state_or_position_a_resumed_run_is_another_one(tmp_path, missing):
    """Without the state or the position, a resumed run differs, so the test above can fail."""
    path, full, resumed = tmp_path / "mid.ckpt", Streaming(), Streaming()
    fit(full, streams_of(), callbacks=[SaveAt(3, path)])
    checkpoint = torch.load(path, weights_only=True)
    if missing == "state":
        checkpoint["carried_hiddens"] = None
    else:
        del checkpoint["loops"]["fit_loop"]["state_dict"]["combined_loader"]
    torch.save(checkpoint, path)
    if missing == "state":
        with pytest.warns(UserWarning, match=r"resumes at step 24 .* state of no step\. .* fresh state"):
            fit(resumed, streams_of(), ckpt_path=path)
    else:
        fit(resumed, streams_of(), ckpt_path=path)
        assert resumed.starts[0] == 0
    assert not torch.equal(torch.stack(full.losses[-3:]), torch.stack(resumed.losses[-3:]))


@pytest.mark.parametrize(
    ("hook", "limit"),
    [
        ("on_train_epoch_end", {"max_epochs": 2}),
        ("on_train_batch_end", {"max_epochs": 2}),
        ("on_train_batch_end", {"max_steps": 14, "max_epochs": -1}),
    ],
)
def test_resuming_at_the_end_of_an_epoch_begins_the_next(tmp_path, hook, limit):
    """Resuming at the end of an epoch starts the streams over with a fresh state."""
    full, resumed = Streaming(), Streaming()
    path = tmp_path / "end.ckpt"
    fit(full, streams_of(), callbacks=[SaveAt(7, path, hook)], **limit)
    fit(resumed, streams_of(), ckpt_path=path, **limit)
    assert resumed.starts[0] == 0
    assert torch.equal(torch.stack(full.losses[7:]), torch.stack(resumed.losses))


def test_a_checkpoint_made_while_validating_holds_the_state_of_training(tmp_path):
    """Training resumes bit for bit from a checkpoint that was saved during validation."""
    data, often = {"steps": 400, "val_fraction": 0.25}, {"limit_val_batches": 1.0, "val_check_interval": 3}
    full, resumed = Streaming(), Streaming()
    path = tmp_path / "validating.ckpt"
    fit(full, streams_of(**data), callbacks=[SaveAt(3, path, "on_validation_end")], **often)
    fit(resumed, streams_of(**data), ckpt_path=path, **often)
    assert torch.equal(torch.stack(full.losses[3:]), torch.stack(resumed.losses))


def test_a_new_fit_forgets_the_state_of_a_loaded_module(tmp_path):
    """`load_from_checkpoint` restores the weights, and a new fit starts with a fresh state."""
    path, full = tmp_path / "mid.ckpt", Streaming(lr=0.0)
    fit(full, streams_of(), callbacks=[SaveAt(3, path)])
    loaded = Streaming.load_from_checkpoint(path, lr=0.0)
    fit(loaded, streams_of())
    assert torch.equal(torch.stack(full.losses), torch.stack(loaded.losses))
