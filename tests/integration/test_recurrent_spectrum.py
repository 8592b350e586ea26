"""`RecurrentSpectrumMonitor` with two processes and with a compiled module."""

import pytest
import torch

from lightning_clip import GradientMonitor, RecurrentSpectrumMonitor
from tests.support.processes import fit_in_two
from tests.support.training import assert_same_weights, quiet_trainer
from tests.support.watched_rnn import RecurrentNet, recurrent_batches


class OfRows(RecurrentNet):
    """Repeats each row as a sequence of five steps."""

    def training_step(self, batch, batch_idx):
        x, y = batch
        return super().training_step((x[:, None, :3].expand(-1, 5, -1), y), batch_idx)


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no torch.distributed")
def test_with_two_processes_rank_zero_measures(tmp_path):
    """The other rank does not wait, and the weights are those of a run without the monitor."""
    folders = [tmp_path / "watched", tmp_path / "alone"]
    for folder in folders:
        folder.mkdir()
    watched = fit_in_two(OfRows("gru"), [GradientMonitor(), RecurrentSpectrumMonitor(2)], folders[0])
    alone = fit_in_two(OfRows("gru"), [GradientMonitor()], folders[1])
    assert [("rnn/sigma_max" in kept["metrics"]) for kept in watched] == [True, False]
    for kept in (*watched, alone[1]):
        assert_same_weights(kept["weights"], alone[0]["weights"])


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")  # the compiler's
def test_a_compiled_module_is_measured_under_its_plain_names():
    """Names have no wrapper prefix, and the weights are those of an unmonitored run."""
    torch._dynamo.reset()
    monitor, alone = RecurrentSpectrumMonitor(2), RecurrentNet("gru")
    modules = [torch.compile(RecurrentNet("gru"), backend="eager"), torch.compile(alone, backend="eager")]
    for module, callbacks in zip(modules, ([monitor], []), strict=True):
        quiet_trainer(callbacks=callbacks, max_epochs=1).fit(module, recurrent_batches())
    torch._dynamo.reset()
    assert monitor.latest.data["weights"] == ["rnn.weight_hh_l0"] * 3
    assert 0 < monitor.latest.data["update_gate_mean"][0] < 1
    assert_same_weights({name.removeprefix("_orig_mod."): w for name, w in modules[0].state_dict().items()}, alone)
