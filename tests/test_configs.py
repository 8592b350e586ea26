"""Every file under `configs/` can be used as its first line says."""

import inspect
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

import lightning_clip.strategies
from lightning_clip.cli.main import main
from lightning_clip.studies import built_in_studies, load_study, run_cell
from lightning_clip.studies.expected_metrics import check_metrics
from lightning_clip.studies.experiments import truncation_bias
from lightning_clip.studies.study import overridden

CONFIGS = Path(__file__).parent.parent / "configs"

# What each data file is combined with in the tests, and further options. A new file of data/ or model/ has to be here.
MODEL_FOR_DATA = {
    "regression": ["mlp"],
    "diabetes": ["mlp"],
    "temporal_order": ["rnn"],
    "random_permutation": ["lstm"],
    "sequential_digits": ["gru"],
    "memorization": ["lstm", "--model.init_args.many_to_many=true"],
    "adding_problem": ["rnn", "--model.init_args.task=regression"],
    "multiplication": ["gru", "--model.init_args.task=regression"],
    "char_text": ["tbptt"],
    "chunked_sequence": ["tbptt_regression"],
    "time_series": ["tbptt_sequence"],
}
FEW_SEQUENCES = {"data": {"init_args": {"n_test": 4, "batch_size": 4}}}
FEW_STREAMS = {"data": {"init_args": {"batch_size": 4}}}
# Changes that make a study small enough for a test.
SMALLER = {
    "rnn-adding": FEW_SEQUENCES,
    "rnn-architectures": FEW_SEQUENCES,
    "rnn-lr-sweep": FEW_SEQUENCES,
    "rnn-temporal-order": FEW_SEQUENCES,
    "rnn-temporal-order-length": FEW_SEQUENCES,
    "rnn-remedies": FEW_STREAMS,
    "rnn-text": FEW_STREAMS,
    "tbptt-bias": {**FEW_STREAMS, "experiment": {"init_args": {"window": 16}}},
}
OPTIONS_FOR_CLIP = {"update_rms": ["--model.init_args.optimizer=torch.optim.Adam"]}


def names_in(folder: str) -> list[str]:
    return sorted(path.stem for path in (CONFIGS / folder).glob("*.yaml"))


def class_names(folder: str, *keys: str | int) -> set[str]:
    """The classes that the files of a folder name under some keys."""
    found = set()
    for name in names_in(folder):
        part = yaml.safe_load((CONFIGS / folder / f"{name}.yaml").read_text(encoding="utf-8"))
        for key in keys:
            part = part[key]
        found.add(part["class_path"].removeprefix("lightning_clip."))
    return found


@pytest.fixture
def fit(tmp_path, monkeypatch, capsys):
    """A function that trains for one step with some files in an empty folder and returns the output."""
    monkeypatch.chdir(tmp_path)

    def printed(*names: str, options: list[str]) -> str:
        files = [f"--config={CONFIGS / name}.yaml" for name in ("trainer", *names)]
        quick = ["--trainer.fast_dev_run=true", "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]
        assert main(["fit", *files, *quick, *options]) == 0
        return capsys.readouterr().out

    return printed


@pytest.mark.parametrize("clip", names_in("clip"))
def test_every_clip_config_trains(clip, fit):
    """A clip file adds one strategy to a run, and the report names the strategy."""
    config = yaml.safe_load((CONFIGS / "clip" / f"{clip}.yaml").read_text(encoding="utf-8"))
    strategy = config["trainer"]["callbacks+"][0]["init_args"]["strategy"]["class_path"].rpartition(".")[2]
    text = fit("model/mlp", "data/regression", f"clip/{clip}", options=OPTIONS_FOR_CLIP.get(clip, []))
    assert f"Strategy   {strategy}(" in text
    assert "Run        1 optimizer step in" in text


def test_every_model_config_has_data():
    """Every model file trains together with a data file."""
    assert {model for model, *_ in MODEL_FOR_DATA.values()} == set(names_in("model"))


@pytest.mark.parametrize("data", names_in("data"))
def test_every_data_config_trains(data, fit):
    """A data file trains together with a model file."""
    assert data in MODEL_FOR_DATA, f"{Path(__file__).name}: add the model for {data}.yaml"
    model, *options = MODEL_FOR_DATA[data]
    assert "Strategy   NormClip(" in fit(f"model/{model}", f"data/{data}", "clip/norm", options=options)


def test_every_strategy_has_its_config():
    """Every strategy that the package exports has a file in `configs/clip`."""
    exported = {
        name
        for name in lightning_clip.strategies.__all__
        if inspect.isclass(strategy := getattr(lightning_clip, name))
        and issubclass(strategy, lightning_clip.ClipStrategy)
        and not inspect.isabstract(strategy)
    }
    assert class_names("clip", "trainer", "callbacks+", 0, "init_args", "strategy") == exported


def test_every_config_says_what_it_is_for():
    """The first line of every file is a sentence that says what it is for."""
    firsts = {path: path.read_text(encoding="utf-8").splitlines()[0] for path in CONFIGS.rglob("*.yaml")}
    assert len(firsts) > 50
    assert [path for path, first in firsts.items() if not (first.startswith("# ") and first.endswith("."))] == []


def test_every_study_is_built_in():
    """`compare --config NAME` accepts exactly the studies in `configs/studies`."""
    assert names_in("studies") == built_in_studies()


def with_one_epoch(settings):
    """The settings of a study, limited to one epoch each."""
    lengths = [setting.get("trainer", {}).get("max_epochs", 0) for setting in settings]
    one = {"trainer": {"max_epochs": 1}}
    return [overridden(s, one) if length > 1 else s for s, length in zip(settings, lengths, strict=True)]


def unlike(cells):
    """The cells that differ in more than numbers; only the first of the others is worth a test."""
    kinds = {}
    for cell in cells:
        parts = (cell.model, cell.strategy, cell.data, cell.trainer, cell.callbacks, cell.experiment)
        kinds.setdefault(re.sub(r"\d[\d.]*(e-?\d+)?", "#", repr(parts)), cell)
    return list(kinds.values())


@pytest.mark.parametrize("chosen", [unlike, pytest.param(list, marks=pytest.mark.slow)], ids=["unlike", "all"])
@pytest.mark.parametrize("name", names_in("studies"))
def test_every_study_runs(name, chosen, tmp_path, monkeypatch):
    """A built-in study has the name of its file, and each kind of its cells makes a step or returns a metric."""
    study = load_study(name)
    assert study.name == name
    few = {**study.trainer, "limit_train_batches": 1, "limit_test_batches": 1}
    parts = {part: overridden(getattr(study, part), change) for part, change in SMALLER.get(name, {}).items()}
    short = replace(study, settings=with_one_epoch(study.settings), seeds=1, max_epochs=1, trainer=few, **parts)
    for length, steps in {"_SHORT": 32, "_LONG": 64}.items():
        monkeypatch.setattr(truncation_bias, length, steps)
    check_metrics(short)
    results = [run_cell(cell, tmp_path / "run.jsonl") for cell in chosen(short.cells())]
    assert all(result.steps > 0 or any(result.metrics.values()) for result in results)
