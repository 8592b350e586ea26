"""`run_fused`: the error on a CPU that cannot run an LSTM in mixed precision."""

import pytest
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_clip import GRUModule, LSTMModule, TBPTTModule, TBPTTSequenceModule
from lightning_clip.modules.layers.fused_layer import run_fused
from lightning_clip.modules.layers.padded import run_padded
from tests.support.fresh import run
from tests.support.kernels import why_no_lstm_in_bf16
from tests.support.streaming import LAYERS, fit, sequences

NO_KERNEL = "could not create a primitive descriptor for the LSTM forward propagation primitive. Run workload with …"
REMEDY = (
    r"Trainer\(precision='{}'\): this CPU has no kernel for nn\.LSTM in mixed precision\. "
    r"Use precision='bf16-true' or '32-true', or a GRU instead of the LSTM\."
)
MODULES = {
    "LSTMModule": lambda: LSTMModule(2, 1, task="regression", many_to_many=True),
    "TBPTTSequenceModule": lambda: TBPTTSequenceModule(2, 1, task="regression", many_to_many=True),
}


def loader() -> DataLoader:
    return DataLoader(TensorDataset(*sequences()), batch_size=3)


@pytest.fixture
def _no_kernel(monkeypatch):
    """Simulates a CPU without a kernel: torch refuses to run an LSTM under autocast."""
    forward = nn.LSTM.forward

    def refuse(self, *args):
        if torch.is_autocast_enabled("cpu"):
            raise RuntimeError(NO_KERNEL)
        return forward(self, *args)

    monkeypatch.setattr(nn.LSTM, "forward", refuse)


@pytest.mark.usefixtures("_no_kernel")
@pytest.mark.parametrize("make", MODULES.values(), ids=MODULES)
def test_training_names_what_to_use_instead(make):
    """Training ends with one line that names the remedies, chained to torch's own error."""
    with pytest.raises(MisconfigurationException, match=REMEDY.format("bf16-mixed")) as raised:
        fit(make(), loader(), precision="bf16-mixed")
    assert "\n" not in str(raised.value)
    assert str(raised.value.__cause__) == NO_KERNEL


@pytest.mark.usefixtures("_no_kernel")
@pytest.mark.parametrize("precision", ["bf16-true", "32-true"])
@pytest.mark.parametrize("make", MODULES.values(), ids=MODULES)
def test_what_is_named_trains(make, precision):
    """The precisions that the error names train the LSTM, without autocast."""
    trainer = fit(make(), loader(), precision=precision)
    assert trainer.callback_metrics["train_loss"].isfinite()


@pytest.mark.usefixtures("_no_kernel")
def test_a_gru_trains_in_mixed_precision():
    """A GRU, the other remedy that the error names, trains in mixed precision."""
    trainer = fit(GRUModule(2, 1, task="regression", many_to_many=True), loader(), precision="bf16-mixed")
    assert trainer.callback_metrics["train_loss"].isfinite()


@pytest.mark.usefixtures("_no_kernel")
def test_padded_rows_are_told_the_same():
    """Padded sequences, packed or not, get the same error."""
    layer = nn.LSTM(2, 3, batch_first=True)
    for lengths in ([4, 2], [4, 4]):
        with (
            torch.autocast("cpu", torch.bfloat16),
            pytest.raises(MisconfigurationException, match=REMEDY.format("bf16-mixed")),
        ):
            run_padded(layer, torch.zeros(2, 4, 2), None, torch.tensor(lengths))


@pytest.mark.usefixtures("_no_kernel")
def test_a_stream_in_half_precision_is_told_the_same():
    """Under float16 autocast, the error names the precision `16-mixed`."""
    model = TBPTTModule(8, 8, hidden_size=4)
    with (
        torch.autocast("cpu", torch.float16),
        pytest.raises(MisconfigurationException, match=REMEDY.format("16-mixed")),
    ):
        model.advance(torch.zeros(1, 3, dtype=torch.int64))


@pytest.mark.parametrize(
    ("cell", "message", "autocast"),
    [("lstm", "on purpose", True), ("lstm", NO_KERNEL, False), ("gru", NO_KERNEL, True), ("rnn", "on purpose", False)],
)
def test_other_errors_are_left_as_they_are(monkeypatch, cell, message, autocast):
    """Any other error, an error without autocast, and an error of another layer pass through unchanged."""
    layer, error = LAYERS[cell](2, 3), RuntimeError(message)

    def fail(*args):
        raise error

    monkeypatch.setattr(layer, "forward", fail)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast), pytest.raises(RuntimeError) as raised:
        run_fused(layer, torch.zeros(1, 1, 2), None)
    assert raised.value is error


@pytest.mark.parametrize("cell", LAYERS)
def test_the_layer_is_run_as_it_is(cell):
    """`run_fused` returns the outputs and the state of the layer."""
    layer, inputs = LAYERS[cell](2, 3), torch.randn(4, 1, 2)
    torch.testing.assert_close(run_fused(layer, inputs, None), layer(inputs), rtol=0, atol=0)


def test_the_command_line_says_it_in_one_line(tmp_path):
    """With oneDNN limited to AVX2, `fit` ends with one line and exit code 2, unless torch can run the LSTM anyway."""
    code = (
        "import sys; from tests.support.kernels import why_no_lstm_in_bf16\n"
        "print(why_no_lstm_in_bf16()); sys.stdout.flush()\n"
        "from lightning_clip.cli import main\n"
        "sys.exit(main(['fit', '--model=LSTMModule', '--data=TemporalOrderDataModule', '--trainer.accelerator=cpu',"
        "'--trainer.precision=bf16-mixed', '--trainer.logger=false', '--trainer.fast_dev_run=1',"
        "'--trainer.enable_progress_bar=false', '--trainer.enable_model_summary=false']))"
    )
    done = run(["-c", code], tmp_path, ONEDNN_MAX_CPU_ISA="AVX2")
    if not done.stdout.startswith("torch's own nn.LSTM does not run in bfloat16 on this CPU"):
        assert done.returncode == 0, done.stderr
        pytest.skip("torch runs an LSTM in bfloat16 here, even with oneDNN limited to AVX2")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(
        "lightning-clip: Trainer(precision='bf16-mixed'): this CPU has no kernel"
    )


def test_torch_is_asked_once(monkeypatch):
    """Torch's own LSTM is tried once, and the answer is remembered."""
    calls = []
    monkeypatch.setattr(nn.LSTM, "forward", lambda self, *args: calls.append(torch.is_autocast_enabled("cpu")))
    why_no_lstm_in_bf16.cache_clear()
    assert (why_no_lstm_in_bf16(), why_no_lstm_in_bf16()) == ("", "")
    assert calls == [True]
    why_no_lstm_in_bf16.cache_clear()
