"""pytorch-forecasting: recurrent models with all callbacks, twice, and after its learning rate finder."""

import os
import warnings

import lightning.pytorch as pl
import numpy as np
import pandas as pd
from lightning.pytorch.tuner import Tuner
from pytorch_forecasting import DeepAR, RecurrentNetwork, TimeSeriesDataSet
from pytorch_forecasting.data import GroupNormalizer

from tests.guests.callbacks import check, everything

warnings.filterwarnings("ignore")
os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"  # the tuner's checkpoint has a normalizer among its arguments
n = 200
frame = pd.DataFrame({"series": "a", "time": np.arange(n), "y": np.sin(np.arange(n) / 5) + 2})
data = TimeSeriesDataSet(
    frame,
    time_idx="time",
    target="y",
    group_ids=["series"],
    max_encoder_length=24,
    max_prediction_length=8,
    time_varying_unknown_reals=["y"],
    target_normalizer=GroupNormalizer(groups=["series"]),
)
loader = data.to_dataloader(train=True, batch_size=32)


def trainer(callbacks):
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    return pl.Trainer(max_epochs=1, accelerator="cpu", callbacks=callbacks, logger=False, **quiet)


for kind in (RecurrentNetwork, DeepAR):
    callbacks, steps = everything(), []
    for _ in range(2):
        model = kind.from_dataset(data, hidden_size=8, rnn_layers=1)
        trainer(callbacks).fit(model, loader)
        steps.append(check(callbacks))
    assert steps[0] == steps[1], steps
    model, tuned = kind.from_dataset(data, hidden_size=8, rnn_layers=1), trainer(callbacks)
    Tuner(tuned).lr_find(model, loader, num_training=10, early_stop_threshold=None)
    tuned.fit(model, loader)
    assert check(callbacks) == steps[0]
    print(f"pytorch-forecasting {kind.__name__}: {steps[0]} steps, twice, and after the tuner")
