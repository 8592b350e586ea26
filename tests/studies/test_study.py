"""`Study`: its cells, the files it is read from, and the mistakes that `check_study` finds."""

from copy import deepcopy

import pytest

from lightning_clip._errors import InputError
from lightning_clip.studies import Study, built_in_studies, load_study
from lightning_clip.studies.check import check_study
from lightning_clip.studies.study import overridden
from tests.support.studies import CONTENT, tiny_study, written_study

NORM = {"class_path": "lightning_clip.NormClip"}
NET = {"class_path": "Net", "init_args": {"size": 3, "optimizer": {"class_path": "SGD", "init_args": {"lr": 0.1}}}}


def test_a_study_is_a_grid():
    """Each model runs with each strategy and each seed, and results are listed in this order."""
    study = tiny_study(models={"a": {}, "b": {}}, seeds=2)
    keys = [cell.key for cell in study.cells()]
    assert keys[:4] == [(*pair, (), seed) for pair in (("a", "none"), ("a", "norm-1.0")) for seed in (0, 1)]
    assert len(keys) == 8


def test_seeds_count_from_the_first_one():
    """`first_seed` moves all seeds, for a study with other random numbers."""
    assert [cell.seed for cell in tiny_study(first_seed=100).cells()] == [100, 101, 100, 101]


def test_a_grid_gives_each_model_its_strategies():
    """With `grid`, a model runs only with the strategies named for it."""
    study = tiny_study(models={"a": {}, "b": {}}, seeds=1, grid={"a": ["norm-1.0"], "b": ["none", "norm-1.0"]})
    assert [cell.key[:2] for cell in study.cells()] == [("a", "norm-1.0"), ("b", "none"), ("b", "norm-1.0")]


def test_a_cell_has_what_the_study_says():
    """A cell has the configurations of its model, strategy and data, and the options of the trainer."""
    cell = tiny_study(trainer={"limit_train_batches": 3}).cells()[-1]
    assert cell.data == CONTENT["data"]
    assert cell.model == CONTENT["models"]["mlp"]
    assert cell.strategy == CONTENT["strategies"]["norm-1.0"]
    assert (cell.seed, cell.trainer) == (1, {"max_epochs": 1, "limit_train_batches": 3})


def test_settings_vary_what_models_and_strategies_do_not():
    """A setting has axes, changes data, model and trainer, and may select models and strategies."""
    settings = [
        {"axes": {"rows": 8}, "data": {"init_args": {"batch_size": 8}}, "trainer": {"max_steps": 3}},
        {"axes": {"rows": 16}, "model": {"init_args": {"hidden_size": 5}}, "strategies": ["none"]},
    ]
    cells = tiny_study(settings=settings, seeds=1).cells()
    assert [cell.key[1:3] for cell in cells] == [
        ("none", (("rows", 8),)),
        ("norm-1.0", (("rows", 8),)),
        ("none", (("rows", 16),)),
    ]
    assert cells[0].data == {**CONTENT["data"], "init_args": {"batch_size": 8}}
    assert (cells[0].model, cells[0].trainer) == (CONTENT["models"]["mlp"], {"max_epochs": 1, "max_steps": 3})
    assert (cells[2].data, cells[2].model["init_args"]) == (CONTENT["data"], {"hidden_size": 5})


def test_a_strategy_may_change_the_model_and_the_data():
    """A remedy other than clipping is a strategy whose changes apply after those of the setting."""
    remedy = {**NORM, "model": {"init_args": {"hidden_size": 7}}, "data": {"init_args": {"batch_size": 4}}}
    settings = [{"axes": {"size": 5}, "model": {"init_args": {"hidden_size": 5, "lr": 1}}}]
    plain, changed = tiny_study(strategies={"a": NORM, "b": remedy}, settings=settings, seeds=1).cells()
    assert plain.strategy == changed.strategy == NORM
    assert plain.model["init_args"] == {"hidden_size": 5, "lr": 1}
    assert changed.model["init_args"] == {"hidden_size": 7, "lr": 1}
    assert (plain.data, changed.data["init_args"]) == (CONTENT["data"], {"batch_size": 4})


def test_a_study_is_read_from_a_file(tmp_path):
    """A YAML file has the fields of a study."""
    assert load_study(written_study(tmp_path)) == tiny_study()


def test_classes_need_no_path(tmp_path):
    """A class of this package is found by its bare name."""
    short = {
        "data": {"class_path": "RegressionDataModule"},
        "models": {"mlp": {"class_path": "MLPRegressor"}},
        "strategies": {"auto": {"class_path": "AutoClip"}},
    }
    assert len(load_study(written_study(tmp_path, **short)).cells()) == 2


def test_the_built_in_study_is_the_tutorials():
    """`mlp-regression` has one network, four strategies, 5 seeds and 100 epochs."""
    study = load_study("mlp-regression")
    assert "mlp-regression" in built_in_studies()
    assert list(study.strategies) == ["none", "per-parameter-norm-1.0", "value-5.0", "norm-1.0"]
    assert (study.name, list(study.models), study.seeds, study.max_epochs) == ("mlp-regression", ["mlp"], 5, 100)


def test_defaults_are_five_seeds_and_a_hundred_epochs():
    """A study without `seeds` and `max_epochs` has 5 and 100."""
    study = Study(**{key: CONTENT[key] for key in ("name", "data", "models", "strategies")})
    assert (study.seeds, study.max_epochs) == (5, 100)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strategies": {"x": {"class_path": "lightning_clip.NromClip"}}}, "strategies.x: .*no attribute 'NromClip'"),
        ({"strategies": {"x": {"class_path": "NromClip"}}}, "strategies.x: there is no class 'NromClip'"),
        ({"strategies": {"x": {**NORM, "init_args": {"max_norm": -1}}}}, r"strategies.x: NormClip\(max_norm=-1.0\): "),
        ({"strategies": {"x": {**NORM, "init_args": {"norm": 1}}}}, "strategies.x: .*NormClip: Option 'norm' is not"),
        ({"strategies": {"x": "NormClip(1"}}, "strategies.x: expected class_path and init_args, found 'NormClip"),
        ({"models": {"m": NORM}}, "models.m: .*NormClip.* not .*subclass of LightningModule"),
        ({"data": {"class_path": "NoData"}}, "data: there is no class 'NoData'"),
        ({"seeds": 0}, "seeds: 0: a study needs at least one seed"),
        ({"first_seed": -1}, "first_seed: -1: seeds are at least 0"),
        (
            {"settings": [{"axes": {"n_steps": 5}}, {"axes": {"n_steps": 6}}, {"axes": {"n_step": 7}}]},
            "settings: number 3: axes: 'n_step' is no axis of the other settings; did you mean 'n_steps'",
        ),
        ({"seeds": "many"}, "seeds: expected a whole number, found 'many'"),
        ({"max_epochs": None}, "max_epochs: expected a whole number, found None"),
        (
            {"max_epochs": -3},
            r"max_epochs or trainer: Trainer\(max_epochs=-3\): `max_epochs` must be a non-negative integer",
        ),
        ({"trainer": {"epochs": 3}}, "max_epochs or trainer: .*unexpected keyword argument 'epochs'"),
        ({"trainer": 3}, "trainer: expected keys and values, found 3"),
        ({"strategies": ["none"]}, "strategies: expected keys and values"),
        ({"strategies": {}}, "models, strategies: a study needs at least one of each"),
        ({"grid": {"mlp": ["norm"]}}, "grid.mlp: 'norm' is not among the study's strategies"),
        ({"grid": {"rnn": ["none"]}}, "grid: 'rnn' is not among the study's models"),
        ({"data": None}, "data: expected keys and values, found None; training needs data"),
        ({"settings": [{"length": 3}]}, "settings: number 1: expected keys among axes, .*, found 'length'"),
        ({"settings": ["x"]}, "settings: number 1: expected keys among .* found 'x'"),
        ({"settings": [{"axes": {"a": [1]}}]}, r"settings: number 1: axes: expected a number or a word .*\[1\]"),
        ({"settings": [{"axes": {"a": "x/y"}}]}, "settings: number 1: axes: a: 'x/y': a name becomes part"),
        ({"settings": [{}, {"models": ["rnn"]}]}, "settings: number 2: models: 'rnn' is not among the study's models"),
        ({"settings": [{}, {}]}, "models, strategies: two runs would write the same record, mlp-none; rename one"),
        (
            {"settings": [{"axes": {"a": 1}, "model": {"init_args": {"in_features": -1}}}]},
            r"model of mlp, none, a 1: MLPRegressor\(in_features=-1, ",
        ),
        ({"settings": [{"trainer": {"max_steps": "x"}}]}, "max_epochs or trainer: "),
        ({"strategies": {"x": {**NORM, "data": {"class_path": "NoData"}}}}, "data of mlp, x: there is no class 'NoDa"),
        ({"callbacks": [{"class_path": "NoCallback"}]}, "callbacks: number 1: there is no class 'NoCallback'"),
        ({"experiment": {"class_path": "NoExperiment"}}, "experiment of mlp, none: there is no class 'NoExperiment'"),
        ({"evaluate_on": ["val"]}, "evaluate_on: 'val' is not one of train, test"),
        ({"name": ["tiny"]}, r"name: expected a string, found \['tiny'\]"),
        ({"name": "../tiny"}, "name: '../tiny': a name becomes part of file names"),
        (
            {"strategies": {1.0: NORM}},
            "strategies: 1.0: a name becomes part of file names: use a string without slashes or control",
        ),
    ],
)
def test_a_mistake_is_reported_in_one_line(tmp_path, changes, message):
    """The message says what is wrong in a study, and where, before the first run."""
    path = written_study(tmp_path, **changes)
    with pytest.raises(InputError, match=message) as raised:
        load_study(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)


def test_two_runs_never_share_a_record():
    """Names that would give two runs the same file are refused."""
    mlp = CONTENT["models"]["mlp"]
    study = tiny_study(models={"mlp": mlp, "mlp-a": mlp}, strategies={"a-b": NORM, "b": NORM})
    with pytest.raises(InputError, match="the same record, mlp-a-b; rename one"):
        check_study(study)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "not a YAML file: .*line 1"),
        ("", r"expected the keys name, models, strategies and, optionally, data, .*; found None"),
        ("name: x", "expected the keys name, models, strategies and, optionally, data, .*; there is no models"),
        ("- 1", r"expected the keys .*found \[1\]"),
    ],
)
def test_what_is_not_a_study_is_refused(tmp_path, text, message):
    """The message names a file that is not YAML or has other keys, and says what was expected."""
    path = tmp_path / "x.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        load_study(path)


def test_an_unknown_key_is_named(tmp_path):
    """A key that a study does not have is not ignored."""
    with pytest.raises(InputError, match=r"found 'epochs'; did you mean 'max_epochs'"):
        load_study(written_study(tmp_path, epochs=3))


def test_what_cannot_be_read_is_refused(tmp_path):
    """A missing file, a file that is not text, and an unknown study have different messages."""
    with pytest.raises(InputError, match=r"none\.yaml: cannot be read: No such file"):
        load_study(tmp_path / "none.yaml")
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"cannot be read: not a text file"):
        load_study(binary)
    with pytest.raises(InputError, match=r"mlp: there is no such study; name a \.yaml file or one of cliff, "):
        load_study("mlp")


def test_only_what_is_named_changes():
    """A change at any depth leaves its neighbors and the original as they were."""
    before = deepcopy(NET)
    changed = overridden(NET, {"init_args": {"optimizer": {"init_args": {"lr": 0.2}}}})
    assert changed["init_args"] == {"size": 3, "optimizer": {"class_path": "SGD", "init_args": {"lr": 0.2}}}
    assert before == NET


def test_another_class_brings_its_own_arguments():
    """The arguments of the old class are not passed to the new one, at any depth."""
    adam = {"class_path": "Adam", "init_args": {"betas": [0.9, 0.99]}}
    assert overridden(NET, {"init_args": {"optimizer": adam}})["init_args"]["optimizer"] == adam
    assert overridden(NET, {"class_path": "Other"}) == {"class_path": "Other"}


def test_the_same_class_keeps_its_arguments():
    """Repeating the name of the class changes nothing."""
    assert overridden(NET, {"class_path": "Net"}) == NET


def test_a_list_is_replaced_as_a_whole():
    """Only mappings are merged; a new key is added as it is."""
    assert overridden({"a": [1, 2]}, {"a": [3], "b": {"c": 1}}) == {"a": [3], "b": {"c": 1}}
    assert overridden(None, {"a": 1}) == {"a": 1}
