"""Ten runs that train well: every built-in model, most of the data, with and without clipping and monitors."""

from functools import partial

import torch

from lightning_clip import (
    AddingProblemDataModule,
    AutoClip,
    CharTextDataModule,
    GRUModule,
    LSTMModule,
    MemorizationDataModule,
    MLPRegressor,
    NormClip,
    RecurrentSpectrumMonitor,
    RegressionDataModule,
    RNNModule,
    RunRecord,
    SequentialDigitsDataModule,
    TBPTTModule,
    TBPTTSequenceModule,
    TemporalGradientMonitor,
    TemporalOrderDataModule,
    TimeSeriesDataModule,
)
from tests.reports.sick_runs.kit import fitted

_SMALL = {"n_val": 4, "n_test": 4}


def mlp_scaled() -> RunRecord:
    """Scaled targets, SGD with momentum, not clipped."""
    return fitted(MLPRegressor(), RegressionDataModule(standardize_target=True), epochs=8)


def mlp_clipped() -> RunRecord:
    """The network of the first reference, which explodes unless it is clipped."""
    return fitted(MLPRegressor(), RegressionDataModule(), epochs=10, strategy=NormClip(1.0))


def mlp_diabetes() -> RunRecord:
    """Real rows, a small rate of Adam."""
    adam = partial(torch.optim.Adam, lr=0.003)
    data = RegressionDataModule("diabetes", standardize_target=True)
    return fitted(MLPRegressor(10, optimizer=adam), data, epochs=15)


def rnn_order() -> RunRecord:
    """A tanh network on short sequences, with both recurrent monitors."""
    data = TemporalOrderDataModule(10, batch_size=20, batches_per_epoch=150, **_SMALL)
    model = RNNModule(6, 4, hidden_size=24, init="orthogonal", optimizer=partial(torch.optim.Adam, lr=0.003))
    monitors = [TemporalGradientMonitor(every_n_steps=50), RecurrentSpectrumMonitor(every_n_steps=50)]
    return fitted(model, data, epochs=1, strategy=NormClip(1.0), also=monitors)


def lstm_adding() -> RunRecord:
    """An LSTM that adds two marked numbers."""
    data = AddingProblemDataModule(10, batch_size=20, batches_per_epoch=150, **_SMALL)
    return fitted(LSTMModule(2, 1, task="regression", hidden_size=16), data, epochs=1, strategy=AutoClip(50))


def gru_series() -> RunRecord:
    """A GRU on windows of a time series."""
    model = GRUModule(1, 1, task="regression", many_to_many=True, hidden_size=16)
    return fitted(model, TimeSeriesDataModule(window=24, stride=8), epochs=2)


def lstm_digits() -> RunRecord:
    """An LSTM that reads images of digits pixel by pixel."""
    return fitted(LSTMModule(1, 10, hidden_size=24), SequentialDigitsDataModule(batch_size=64), epochs=3)


def relu_memory() -> RunRecord:
    """A ReLU network with identity weights that repeats a pattern after a few blanks."""
    data = MemorizationDataModule(2, n_positions=3, batches_per_epoch=120, **_SMALL)
    model = RNNModule(
        data.in_features,
        data.out_features,
        many_to_many=True,
        nonlinearity="relu",
        init="identity",
        hidden_size=32,
        optimizer=partial(torch.optim.Adam, lr=0.002),
    )
    return fitted(model, data, epochs=1, strategy=NormClip(1.0))


def lstm_text() -> RunRecord:
    """Truncated BPTT over streams of text."""
    model = TBPTTModule(64, 64, embedding_dim=8, hidden_size=24)
    data = CharTextDataModule(n_symbols=64, truncated_bptt_steps=16, batch_size=16)
    return fitted(model, data, epochs=1, strategy=NormClip(0.5), limit_train_batches=120)


def lstm_chunks() -> RunRecord:
    """Truncated BPTT over the chunks of each batch."""
    model = TBPTTSequenceModule(1, 1, task="regression", many_to_many=True, truncated_bptt_steps=12, hidden_size=16)
    return fitted(model, TimeSeriesDataModule(window=48, stride=16), epochs=2)


HEALTHY = (
    mlp_scaled,
    mlp_clipped,
    mlp_diabetes,
    rnn_order,
    lstm_adding,
    gru_series,
    lstm_digits,
    relu_memory,
    lstm_text,
    lstm_chunks,
)
