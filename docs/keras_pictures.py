"""The tutorial's own network in Keras beside ours: two pictures of the studies page.

`pip install keras`, then `KERAS_BACKEND=torch python docs/keras_pictures.py`; `make figures` does both. Ours are its
runs in `runs/figures`, or are made now. Fifteen trainings in Keras take a few minutes.
"""

from statistics import median

import keras
from study_pictures import curves_of, run, save

from lightning_clip import RegressionDataModule
from lightning_clip.studies.comparison.learning_curves import LearningCurve, plot_learning_curves

SETTINGS = {"clipnorm": (1.0, "per-parameter-norm-1.0"), "clipvalue": (5.0, "value-5.0")}
STUDY = "mlp-regression"
SEEDS, EPOCHS = 5, 100


def main() -> None:
    """Write `tutorial-clipnorm.png` and `tutorial-clipvalue.png`, and print the errors that the page quotes."""
    print("no clipping: first loss", [train(seed).values["train"][0] for seed in range(SEEDS)])
    folder = run(STUDY)
    for setting, (limit, strategy) in SETTINGS.items():
        theirs = [train(seed, **{setting: limit}) for seed in range(SEEDS)]
        ours = curves_of(folder.read(), folder, [strategy])[strategy]
        curves = {f"Keras, {setting}={limit}": theirs, f"lightning_clip, {strategy}": ours}
        for name, drawn in curves.items():
            ends = sorted(curve.values["validation"][-1] for curve in drawn)
            print(f"{name}: test MSE {median(ends):.1f} [{ends[0]:.1f} – {ends[-1]:.1f}]")
        save(plot_learning_curves(curves), f"tutorial-{setting}")


def train(seed: int, **clipping: float) -> LearningCurve:
    """Train the tutorial's network with Keras, on the data of the study.

    Args:
        seed: Seeds the weights and the order of the data.
        **clipping: An option of the optimizer, for instance `clipnorm=1.0`.

    Returns:
        The error after each epoch.
    """
    keras.utils.set_random_seed(seed)
    data = RegressionDataModule()
    data.setup("fit")
    train_rows, test_rows = [(rows.inputs.numpy(), rows.targets.numpy()) for rows in (data.train_rows, data.eval_rows)]
    hidden = keras.layers.Dense(25, activation="relu", kernel_initializer="he_uniform")
    network = keras.Sequential([keras.layers.Input((20,)), hidden, keras.layers.Dense(1, activation="linear")])
    optimizer = keras.optimizers.SGD(learning_rate=0.01, momentum=0.9, **clipping)
    network.compile(loss="mean_squared_error", optimizer=optimizer)
    history = network.fit(*train_rows, validation_data=test_rows, epochs=EPOCHS, verbose=0).history
    return LearningCurve(range(1, EPOCHS + 1), {"train": history["loss"], "validation": history["val_loss"]})


if __name__ == "__main__":
    main()
