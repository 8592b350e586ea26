"""Run a study from Python: one network, three strategies, three seeds, two runs at a time.

It does the same as `lightning-clip compare --config FILE.yaml`: results and records are on disk as soon as a run ends.
"""

from pathlib import Path

from lightning_clip.studies import ResultsFolder, Study, check_study, next_free_folder, run_study
from lightning_clip.studies.comparison import render_comparison


def main() -> None:
    study = Study(
        name="three-strategies",
        data={"class_path": "RegressionDataModule"},
        models={"mlp": {"class_path": "MLPRegressor", "init_args": {"hidden_sizes": [25, 25]}}},
        strategies={
            "none": {"class_path": "NoClip"},
            "norm-1.0": {"class_path": "NormClip", "init_args": {"max_norm": 1.0}},
            "auto-10": {"class_path": "AutoClip", "init_args": {"percentile": 10}},
        },
        seeds=3,
        max_epochs=5,
    )
    check_study(study)  # reports mistakes before the first run

    folder = ResultsFolder(next_free_folder(Path("runs"), study.name))
    results = run_study(study, folder, jobs=2)

    print(render_comparison(results, title=study.name))
    best = min((result for result in results if not result.diverged), key=lambda result: result.metrics["test_mse"])
    print(f"The best run is {best.strategy} with seed {best.seed}: lightning-clip report {folder.record_of(best.key)}")


if __name__ == "__main__":  # where processes are spawned instead of forked, they import this file
    main()
