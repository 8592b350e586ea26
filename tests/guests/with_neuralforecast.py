"""neuralforecast: recurrent models with all callbacks, twice, and in cross-validation."""

import warnings

import numpy as np
import pandas as pd
from neuralforecast import NeuralForecast
from neuralforecast.models import GRU, LSTM

from tests.guests.callbacks import check, everything

warnings.filterwarnings("ignore")
n = 200
days = pd.date_range("2020-01-01", periods=n)
frame = pd.DataFrame({"unique_id": "a", "ds": days, "y": np.sin(np.arange(n) / 5)})

for kind in (LSTM, GRU):
    callbacks = everything()
    quiet = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    options = {"h": 4, "input_size": 24, "max_steps": 6, "encoder_hidden_size": 8, "decoder_hidden_size": 8}
    forecast = NeuralForecast(models=[kind(**options, callbacks=callbacks, **quiet)], freq="D")
    steps = []
    for _ in range(2):
        forecast.fit(frame)
        steps.append(check(forecast.models[0].trainer_kwargs["callbacks"]))
    assert steps == [6, 6], steps
    forecast.cross_validation(frame, n_windows=2, refit=True)
    check(forecast.models[0].trainer_kwargs["callbacks"])
    print(f"neuralforecast {kind.__name__}: {steps[0]} steps, twice, and in cross-validation")
