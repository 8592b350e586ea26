"""Rescue a run that explodes without clipping: print when `StrategySwitcher` switched and the test error at the end.

Run it with `python examples/08_switching.py [SEEDS [EPOCHS]]`: 5 seeds and 100 epochs by default.
"""

import sys
import warnings

from lightning.pytorch import Trainer, seed_everything

from lightning_clip import GradientClipping, MLPRegressor, NoClip, NormClip, RegressionDataModule, StrategySwitcher

warnings.filterwarnings("ignore", message=".*does not have many workers.*")

seeds, epochs = [int(word) for word in sys.argv[1:]] + [5, 100][len(sys.argv) - 1 :]
for seed in range(seeds):
    seed_everything(seed, verbose=False)
    clipping = GradientClipping(NoClip())
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        callbacks=[clipping, StrategySwitcher([NormClip(1.0)])],
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    model, data = MLPRegressor(), RegressionDataModule()
    trainer.fit(model, data)
    (metrics,) = trainer.test(model, data, verbose=False)
    switches = "; ".join(f"step {event.step}: {event.message}" for event in clipping.history.events)
    bad = clipping.history.aggregates[0].nonfinite
    print(f"seed {seed}: test MSE {metrics['test_mse']:.1f}, {bad} steps NaN or infinite. {switches}")
