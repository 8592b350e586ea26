"""darts: an LSTM and a block RNN with all callbacks, twice with the same objects, in backtests and with its tuner."""

import warnings

import numpy as np
from darts import TimeSeries
from darts.models import BlockRNNModel, RNNModel

from tests.guests.callbacks import check, everything

warnings.filterwarnings("ignore")
series = TimeSeries.from_values(np.sin(np.arange(200) / 5).astype(np.float32))


def model(kind, callbacks, **options):
    quiet = {"callbacks": callbacks, "accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
    length = {"training_length": 24} if kind is RNNModel else {"output_chunk_length": 4}
    common = {"input_chunk_length": 16, "n_epochs": 1, "batch_size": 32, "random_state": 0, "model": "LSTM"}
    return kind(**common | length | options, hidden_dim=8, pl_trainer_kwargs=quiet)


for kind in (RNNModel, BlockRNNModel):
    callbacks = everything()
    steps = [check(callbacks) for _ in range(2) if model(kind, callbacks).fit(series) is not None]
    assert steps[0] == steps[1], steps
    model(kind, everything()).historical_forecasts(series, start=0.8, stride=20, retrain=True, verbose=False)  # copies
    print(f"darts {kind.__name__}: {steps[0]} steps, twice, and in a backtest")
callbacks = everything()
finder = model(RNNModel, callbacks, n_epochs=5).lr_find(series, num_training=20)  # an epoch is six batches
rate = finder.suggestion()
assert rate is not None, "the tuner was stopped"
assert not callbacks[0].history, "the tuner has left steps in the record"
print(f"darts: learning rate finder {rate:.2g}")
