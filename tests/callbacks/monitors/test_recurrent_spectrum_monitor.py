"""`RecurrentSpectrumMonitor`: samples recurrent weights and units."""

import math

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from torch import nn

from lightning_clip import GradientClipping, GradientMonitor, JsonlSink, NormClip, RecurrentSpectrumMonitor
from lightning_clip.core.recurrent.layer import recurrent_layers
from lightning_clip.core.recurrent.spectrum_probe import SpectrumProbe
from lightning_clip.sinks import read_jsonl
from tests.support.training import assert_same_weights, quiet_trainer, weights_of
from tests.support.watched_rnn import ManualRecurrentNet, RecurrentNet, fit, recurrent_batches

KIND = "recurrent-spectrum"
NETS = {
    "tanh": lambda: RecurrentNet("tanh"),
    "relu": lambda: RecurrentNet("relu", bidirectional=True),
    "lstm": lambda: RecurrentNet("lstm"),
    "lstm, two layers, dropout": lambda: RecurrentNet("lstm", num_layers=2, dropout=0.5),
    "lstm, projected": lambda: RecurrentNet("lstm", num_layers=2, proj_size=2, batch_first=False),
    "gru": lambda: RecurrentNet("gru", num_layers=2, bidirectional=True),
    "packed": lambda: RecurrentNet("gru", packed=True),
    "embedded": lambda: RecurrentNet("gru", embedded=True),
    "manual": lambda: ManualRecurrentNet("tanh", num_layers=2, dropout=0.5),
}


@pytest.mark.parametrize("make", NETS.values(), ids=NETS.keys())
def test_a_monitored_training_is_the_same_bit_for_bit(make):
    """Weights, optimizer state, random numbers and mode are unchanged, even if every step is sampled."""
    watched, alone, monitor = make(), make(), RecurrentSpectrumMonitor(1)
    torch.manual_seed(1)
    ours = fit(watched, monitor)
    ours_random = torch.get_rng_state()
    torch.manual_seed(1)
    theirs = fit(alone)
    assert monitor.latest is not None
    assert_same_weights(watched, alone)
    for a, b in zip(*(t.optimizers[0].state_dict()["state"].values() for t in (ours, theirs)), strict=True):
        assert a.keys() == b.keys()
        assert all(torch.equal(a[name], b[name]) for name in a)
    assert torch.equal(ours_random, torch.get_rng_state())
    assert watched.rnn.training


class WeightsBefore(pl.Callback):
    """Keeps the weights and inputs at the start of each batch."""

    def __init__(self) -> None:
        self.kept = {}

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.kept[trainer.global_step] = weights_of(pl_module), batch[0]


def test_a_sample_holds_the_spectra_of_the_weights_before_its_step():
    """The spectra of each gate, depth and direction match `torch.linalg`."""
    before, observer = WeightsBefore(), GradientMonitor()
    fit(RecurrentNet("gru", num_layers=2, bidirectional=True), RecurrentSpectrumMonitor(4), before, observer)
    samples = observer.history.measurements.of(KIND)
    assert [sample.step for sample in samples] == [0, 4, 8]
    suffixes = ["l0", "l0_reverse", "l1", "l1_reverse"]
    for sample in samples:
        weights, data = before.kept[sample.step][0], sample.data
        assert data["weights"] == [f"rnn.weight_hh_{suffix}" for suffix in suffixes for _ in range(3)]
        assert data["gates"] == ["reset", "update", "new"] * 4
        assert data["bounds"] == [4.0, 4.0, 1.0] * 4
        blocks = torch.cat([weights[f"rnn.weight_hh_{suffix}"].unflatten(0, (3, 6)) for suffix in suffixes])
        assert data["sigma_max"] == pytest.approx(torch.linalg.svdvals(blocks)[:, 0].tolist(), rel=1e-2)
        radii = torch.linalg.eigvals(blocks).abs().amax(1).tolist()
        assert data["spectral_radius"] == pytest.approx(radii, rel=1e-4)


def test_a_sample_holds_the_units_of_its_step():
    """Units are measured on the step's batch with the weights before the step."""
    before, monitor, net = WeightsBefore(), RecurrentSpectrumMonitor(5), RecurrentNet("tanh", scale=8.0)
    fit(net, monitor, before)
    weights, inputs = before.kept[10]
    net.load_state_dict(weights)
    assert monitor.latest.step == 10
    assert monitor.latest.data["saturated_fraction"] == [
        pytest.approx(float((net.states(inputs).abs() > 0.95).float().mean()))
    ]
    assert 0.1 < monitor.latest.data["saturated_fraction"][0] < 0.9


def test_forget_gates_are_where_their_bias_puts_them():
    """With a bias of 4 they are nearly open."""
    net, monitor = RecurrentNet("lstm", num_layers=2), RecurrentSpectrumMonitor()
    with torch.no_grad():
        for depth in range(2):
            net.rnn.get_parameter(f"bias_ih_l{depth}")[6:12] = 4.0
    fit(net, monitor, max_steps=1)
    assert monitor.latest.data["forget_gate_mean"] == pytest.approx([1 / (1 + math.exp(-4.0))] * 2, abs=0.02)
    assert all(math.isnan(value) for value in monitor.latest.data["update_gate_mean"])


@pytest.mark.parametrize("where", ["input", "embedding", "packed"])
def test_denormal_gradients_of_long_sequences_are_seen(where):
    """They are measured even if the input needs no gradient; with `set_flush_denormal` there are none."""

    def make() -> RecurrentNet:
        return RecurrentNet("tanh", scale=0.1, packed=where == "packed", embedded=where == "embedding")

    monitor = RecurrentSpectrumMonitor()
    trainer = quiet_trainer(callbacks=[monitor], max_steps=1)
    trainer.fit(make(), recurrent_batches(steps=80))
    assert monitor.latest.data["layers"] == ["rnn"]
    assert 0.01 < monitor.latest.data["denormal_fraction"][0] < 0.5
    assert monitor.latest.data["device"] == "cpu"
    if torch.set_flush_denormal(True):
        try:
            trainer = quiet_trainer(callbacks=[monitor := RecurrentSpectrumMonitor()], max_steps=1)
            trainer.fit(make(), recurrent_batches(steps=80))
        finally:
            torch.set_flush_denormal(False)
        assert monitor.latest.data["denormal_fraction"] == [0.0]


def test_samples_reach_observers_files_and_loggers(tmp_path):
    """Samples are in every observer, the JSONL record, the metrics file and `callback_metrics`."""
    first, second = GradientClipping(NormClip(1.0)), GradientMonitor(sinks=[JsonlSink(tmp_path / "run.jsonl")])
    monitor, logger = RecurrentSpectrumMonitor(3), CSVLogger(tmp_path)
    trainer = fit(RecurrentNet("lstm", num_layers=2), first, monitor, second, logger=logger)
    found = [observer.history.measurements.of(KIND) for observer in (first, second)]
    assert [sample.step for sample in found[0]] == [0, 3, 6, 9]
    assert str(found[0]) == str(found[1]) == str(read_jsonl(tmp_path / "run.jsonl")[1].measurements.of(KIND))
    assert monitor.latest is found[0][-1]
    metrics, data = trainer.callback_metrics, monitor.latest.data
    assert {key for key in metrics if key.startswith("rnn/")} == {
        *("rnn/sigma_max", "rnn/spectral_radius", "rnn/forget_gate_mean"),
        *("rnn/saturated_gate_fraction", "rnn/denormal_fraction"),
    }
    assert float(metrics["rnn/sigma_max"]) == pytest.approx(max(data["sigma_max"]))
    assert float(metrics["rnn/forget_gate_mean"]) == pytest.approx(sum(data["forget_gate_mean"]) / 2)
    logger.save()
    lines = (tmp_path / "lightning_logs" / "version_0" / "metrics.csv").read_text().splitlines()
    steps = lines[0].split(",").index("step")
    assert [line.split(",")[steps] for line in lines[1:]] == ["0", "3", "6", "9"]


@pytest.mark.parametrize(
    ("module", "options", "steps"),
    [
        (RecurrentNet, {}, [0, 4, 8]),
        (RecurrentNet, {"accumulate_grad_batches": 3}, [0]),
        (ManualRecurrentNet, {"max_epochs": 1}, [0, 6, 9, 12]),
    ],
    ids=["one step a batch", "several batches a step", "several steps a batch"],
)
def test_samples_are_counted_in_optimizer_steps(module, options, steps):
    """A sample is due at the first batch that starts at or after the next multiple."""
    observer = GradientMonitor()
    fit(module(), RecurrentSpectrumMonitor(4), observer, **options)
    assert [sample.step for sample in observer.history.measurements.of(KIND)] == steps


def test_hooks_are_only_there_during_a_sample():
    """No hook is left between samples or after an exception."""

    class Failing(RecurrentNet):
        def training_step(self, batch, batch_idx):
            self.hooks.append(len(self.rnn._forward_hooks) + len(self.rnn._forward_pre_hooks))
            if len(self.hooks) == 5:
                raise ValueError("bad batch")
            return super().training_step(batch, batch_idx)

    module = Failing()
    module.hooks = []
    with pytest.raises(ValueError, match="bad batch"):
        fit(module, RecurrentSpectrumMonitor(4))
    assert module.hooks == [2, 0, 0, 0, 2]
    assert not module.rnn._forward_hooks
    assert not module.rnn._forward_pre_hooks


def test_an_epoch_that_is_cut_short_leaves_no_hook():
    """If the module skips a batch, the layer is not sampled in the following validation."""
    module, monitor = RecurrentNet(), RecurrentSpectrumMonitor()
    trainer = quiet_trainer(callbacks=[monitor], max_epochs=1)
    module.on_train_batch_start = lambda batch, batch_idx: -1
    trainer.fit(module, recurrent_batches())
    assert not module.rnn._forward_hooks
    assert monitor.latest is None


def test_one_sample_is_one_read_of_the_device(monkeypatch):
    """Everything before it runs on the meta device, where a read raises; then one tensor is read."""
    layers = nn.ModuleList([nn.GRU(3, 6, 2, device="meta"), nn.LSTM(3, 6, device="meta"), nn.RNN(3, 6, device="meta")])
    probe, reads = SpectrumProbe(recurrent_layers(layers), rows=2, exact_up_to=256), []
    for _ in range(2):
        probe.arm()
        for layer in layers:
            layer(torch.empty(5, 4, 3, device="meta"))[0].sum().backward()
        with monkeypatch.context() as patch:
            patch.setattr(torch.Tensor, "tolist", lambda tensor: reads.append(tensor) or [0.5] * len(tensor))
            data = probe.read()
    assert [tensor.device.type for tensor in reads] == ["meta"] * 2
    assert data["update_gate_mean"][:2] == [0.5, 0.5]
    assert math.isnan(data["update_gate_mean"][2])
    spectra, gates, units, layers = 2 * (6 + 4 + 1), 3 * 3, 1, 3
    assert len(reads[0]) == spectra + gates + units + layers


def test_resuming_equals_not_stopping(tmp_path):
    """A resumed run takes the same samples, digit for digit, because power iterations continue where they stopped."""
    whole, first, second = (GradientMonitor() for _ in range(3))
    make = lambda: RecurrentNet("lstm", num_layers=2)  # noqa: E731
    fit(make(), RecurrentSpectrumMonitor(4), whole)
    trainer = fit(make(), RecurrentSpectrumMonitor(4), first, max_epochs=1)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    monitor = RecurrentSpectrumMonitor(4)
    trainer = quiet_trainer(callbacks=[monitor, second], max_epochs=2)
    trainer.fit(make(), recurrent_batches(), ckpt_path=tmp_path / "half.ckpt", weights_only=True)
    assert str(second.history.measurements.of(KIND)) == str(whole.history.measurements.of(KIND))
    assert [sample.step for sample in whole.history.measurements.of(KIND)] == [0, 4, 8]


@pytest.mark.parametrize("name", ["every_n_steps", "rows", "exact_up_to"])
def test_bad_arguments_are_rejected(name):
    """The message quotes the call and states the rule."""
    with pytest.raises(ValueError, match=rf"RecurrentSpectrumMonitor\({name}=0\): {name} must be at least 1"):
        RecurrentSpectrumMonitor(**{name: 0})
