"""Gate norms in the training loop."""

import copy

import pytest
import torch
from lightning.pytorch import Callback
from torch import nn

from lightning_clip import GradientClipping, GradientMonitor, JsonlSink, NormClip, read_jsonl
from lightning_clip.core.recurrent.gates import GATE_NORMS
from tests.support.training import Net, assert_same_weights, loader, quiet_trainer


class Recurrent(Net):
    """Reads four numbers one by one with a recurrent layer."""

    def __init__(self, kind: str = "adam", cell: type[nn.RNNBase] = nn.LSTM, depth: int = 1) -> None:
        super().__init__(kind)
        self.net = nn.ModuleDict({"rnn": cell(1, 3, num_layers=depth, batch_first=True), "head": nn.Linear(3, 1)})

    def training_step(self, batch, batch_idx):
        x, y = batch
        states, _ = self.net["rnn"](x[..., None])
        return nn.functional.mse_loss(self.net["head"](states[:, -1]), y)


class Gradients(Callback):
    """Keeps a copy of the gradients of each step."""

    def __init__(self) -> None:
        self.found = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.found.append({name: param.grad.clone() for name, param in pl_module.named_parameters()})


def fit(module, *callbacks, **options):
    trainer = quiet_trainer(callbacks=list(callbacks), **options)
    trainer.fit(module, loader())
    return trainer


def measurements(callback):
    return callback.history.measurements.of(GATE_NORMS)


@pytest.mark.parametrize(("cell", "gates"), [(nn.LSTM, 4), (nn.GRU, 3)])
def test_gate_norms_are_those_of_the_gradients_before_clipping(cell, gates):
    """Gates are measured at the first step of each interval of `flush_every_n_steps`."""
    before, clipping = Gradients(), GradientClipping(NormClip(0.1), flush_every_n_steps=5)
    fit(Recurrent(cell=cell), before, clipping)
    assert [one.step for one in measurements(clipping)] == [0, 5, 10]
    assert clipping.history.aggregates[0].clipped == 12
    for one in measurements(clipping):
        assert len(one.data) == 4
        for name, norms in one.data.items():
            blocks = before.found[one.step][name].chunk(gates)
            assert norms == pytest.approx([float(block.norm()) for block in blocks], rel=1e-5)


def test_networks_without_gates_have_no_gate_norms():
    """A plain RNN and an MLP have no measurements."""
    for module in (Recurrent(cell=nn.RNN), Net()):
        monitor = GradientMonitor()
        fit(module, monitor)
        assert measurements(monitor) == []


@pytest.mark.parametrize("kind", ["sgd", "adam", "lbfgs"])
def test_measuring_gates_changes_no_bit(kind):
    """Weights are those of an unmonitored run, even if every step is measured."""
    watched, alone = Recurrent(kind), Recurrent(kind)
    alone.load_state_dict(copy.deepcopy(watched.state_dict()))
    monitor = GradientMonitor(flush_every_n_steps=1, group_by="rnn")
    fit(watched, monitor)
    fit(alone)
    assert [one.step for one in measurements(monitor)] == list(range(12))
    assert_same_weights(watched, alone)


@pytest.mark.parametrize("group_by", ["none", "rnn"])
def test_resuming_equals_not_stopping(tmp_path, group_by):
    """A resumed run has the measurements of an uninterrupted one; stopping within an interval adds none."""
    options = {"flush_every_n_steps": 4, "group_by": group_by}
    whole, callback = Recurrent(), GradientClipping(NormClip(0.5), **options)
    fit(whole, callback, max_epochs=3, log_every_n_steps=5)
    fit(Recurrent(), GradientClipping(NormClip(0.5), **options), log_every_n_steps=5, max_epochs=1).save_checkpoint(
        tmp_path / "third.ckpt"
    )
    resumed, restored = Recurrent(), GradientClipping(NormClip(0.5), **options)
    trainer = quiet_trainer(max_epochs=3, callbacks=[restored], log_every_n_steps=5)
    trainer.fit(resumed, loader(), ckpt_path=tmp_path / "third.ckpt", weights_only=True)
    assert_same_weights(whole, resumed)
    assert measurements(restored) == measurements(callback)
    logged = {4, 9, 14} if group_by == "rnn" else set()
    assert {one.step for one in measurements(callback)} == {0, 4, 8, 12, 16} | logged


def test_a_checkpoint_without_gate_norms_loads(tmp_path):
    """A checkpoint of an earlier version can be resumed."""
    trainer = fit(Recurrent(), GradientClipping(NormClip(0.5)), max_epochs=1)
    trainer.save_checkpoint(tmp_path / "old.ckpt")
    saved = torch.load(tmp_path / "old.ckpt", weights_only=True)
    del saved["callbacks"]["GradientClipping"]["gates"]
    torch.save(saved, tmp_path / "old.ckpt")
    restored = GradientClipping(NormClip(0.5))
    quiet_trainer(callbacks=[restored]).fit(Recurrent(), loader(), ckpt_path=tmp_path / "old.ckpt")
    assert [one.step for one in measurements(restored)] == [0, 6]


def test_gate_norms_are_in_the_file(tmp_path):
    """`read_jsonl` returns the same measurements."""
    monitor = GradientMonitor(sinks=[JsonlSink(tmp_path / "run.jsonl")], flush_every_n_steps=5)
    fit(Recurrent(), monitor)
    _, history = read_jsonl(tmp_path / "run.jsonl")
    assert history.measurements.of(GATE_NORMS) == measurements(monitor)


def test_a_non_finite_step_has_no_gate_norms():
    """Neither has any later step, because the weights are NaN by then."""

    class Poisoned(Recurrent):
        def training_step(self, batch, batch_idx):
            return super().training_step(batch, batch_idx) * (float("inf") if self.global_step == 5 else 1.0)

    module, monitor = Poisoned("sgd"), GradientMonitor(flush_every_n_steps=5)
    fit(module, monitor)
    assert [one.step for one in measurements(monitor)] == [0]
    assert monitor.history.aggregates[0].first_nonfinite == 5


def test_metrics_by_path_gate_and_layer_are_those_of_the_logged_step():
    """`group_by="rnn"` measures the gates at the logged steps and logs only these."""
    before, monitor = Gradients(), GradientMonitor(group_by="rnn")
    trainer = fit(Recurrent(depth=2), before, monitor, log_every_n_steps=4)
    grads, logged = before.found[11], {key: float(value) for key, value in trainer.callback_metrics.items()}
    assert [one.step for one in measurements(monitor)] == [0, 3, 7, 11]
    paths, gates = ("input-hidden", "hidden-hidden", "bias"), ("input", "forget", "cell", "output")
    for what in (*paths, *(f"gate_{gate}" for gate in gates)):
        of_layers = [logged[f"grad_norm/{what}_l{depth}"] for depth in (0, 1)]
        assert logged[f"grad_norm/{what}"] == pytest.approx(float(torch.tensor(of_layers).norm()), rel=1e-5)
    assert logged["grad_norm/hidden-hidden_l1"] == pytest.approx(float(grads["net.rnn.weight_hh_l1"].norm()), rel=1e-5)
    forget = torch.cat([grad[3:6].flatten() for name, grad in grads.items() if name.endswith("_l1")])
    assert logged["grad_norm/gate_forget_l1"] == pytest.approx(float(forget.norm()), rel=1e-5)
    recurrent = sum(logged[f"grad_norm/{path}"] ** 2 for path in paths)
    assert recurrent == pytest.approx(sum(logged[f"grad_norm/gate_{gate}"] ** 2 for gate in gates), rel=1e-5)


def test_every_optimizer_is_measured():
    """Each optimizer is measured at its own first step of an interval, and its metrics have its suffix."""

    class Two(Recurrent):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False
            self.other = nn.GRU(1, 3, batch_first=True)

        def training_step(self, batch, batch_idx):
            first, second = self.optimizers()
            losses = super().training_step(batch, batch_idx), self.other(batch[0][..., None])[0].square().mean()
            for optimizer, loss in zip((first, second), losses, strict=True):
                optimizer.zero_grad()
                self.manual_backward(loss)
                optimizer.step()

        def configure_optimizers(self):
            return torch.optim.SGD(self.net.parameters(), lr=0.1), torch.optim.SGD(self.other.parameters(), lr=0.1)

    monitor = GradientMonitor(flush_every_n_steps=6, group_by="rnn")
    trainer = fit(Two(), monitor, max_epochs=1, log_every_n_steps=6)
    found = [(one.step, next(iter(one.data))) for one in measurements(monitor)]
    lstm, gru = "net.rnn.weight_ih_l0", "other.weight_ih_l0"
    assert found == [(0, lstm), (1, gru), (6, lstm), (7, gru), (10, lstm), (11, gru)]
    assert {"grad_norm/gate_forget", "grad_norm/gate_update-1"} <= trainer.callback_metrics.keys()
    assert "grad_norm/gate_forget-1" not in trainer.callback_metrics
