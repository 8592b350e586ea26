"""Bad studies: a YAML file of a study that is wrong in one place. `compare` refuses it before the first run."""

from collections.abc import Iterator
from typing import Any

import yaml

from tests.faults.bad_input.case import Command
from tests.faults.bad_input.cli import STUDY

_SOUND: dict[str, Any] = yaml.safe_load(STUDY)


def _study(name: str, content: str | bytes, *says: str) -> Command:
    args = ("compare", "--config", "s.yaml", "--output", "o", "--jobs", "1")
    return Command("yaml", f"study: {name}", ("s.yaml", *says), {"s.yaml": content}, args=args)


def _run(name: str, text: str, *says: str) -> Command:
    """A study whose first run shows that it is wrong."""
    changed = {**_SOUND, **yaml.safe_load(text)}
    args = ("compare", "--config", "s.yaml", "--output", "runs/o", "--jobs", "1")
    return Command("yaml", f"study: {name}", says, {"s.yaml": yaml.safe_dump(changed, sort_keys=False)}, args=args)


def _with(name: str, text: str, *says: str) -> Command:
    """The study with some keys replaced."""
    changed = {**_SOUND, **yaml.safe_load(text)}
    return _study(name, yaml.safe_dump(changed, sort_keys=False, allow_unicode=True), *says)


def _model(init_args: str, *says: str) -> Command:
    return _with(
        f"model {init_args}", f"models: {{mlp: {{class_path: MLPRegressor, init_args: {{{init_args}}}}}}}", *says
    )


def _strategy(config: str, *says: str) -> Command:
    return _with(f"strategy {config}", f"strategies: {{norm: {config}}}", "norm", *says)


def _norm(value: str, *says: str) -> Command:
    return _strategy(f"{{class_path: NormClip, init_args: {{max_norm: {value}}}}}", "max_norm", *says)


def _data(config: str, *says: str) -> Command:
    return _with(f"data {config}", f"data: {config}", "data", *says)


_WRONG_TYPES: dict[str, tuple[Any, ...]] = {
    "name": (7, None, ["abc"]),
    "models": (7, "abc", [1]),
    "strategies": (7, "abc", None, [1]),
    "data": (7, "abc", [1]),
    "settings": (7, "abc", {"a": 1}),
    "seeds": (-1, 0, 1.5, "abc", None, True),
    "max_epochs": ("abc", None, 1.5, -5, 0, True, float("inf")),
    "grid": (7, "abc", [1]),
    "trainer": (7, "abc", [1]),
    "callbacks": (7, "abc", {"a": 1}),
    "evaluate_on": (7, "abc", ["nope"]),
    "metrics": (7, "abc", [7]),
    "experiment": (7, "abc", [1]),
}


def _studies() -> Iterator[Command]:
    for key, values in _WRONG_TYPES.items():
        for value in values:
            changed = {**yaml.safe_load(STUDY), key: value}
            shown = value[0] if key in ("evaluate_on", "metrics") and isinstance(value, list) else value
            yield _study(f"{key} {value!r}", yaml.safe_dump(changed, sort_keys=False), key, repr(shown))
    for key in ("name", "models", "strategies", "data"):
        changed = {k: v for k, v in yaml.safe_load(STUDY).items() if k != key}
        yield _study(f"no {key}", yaml.safe_dump(changed, sort_keys=False), key)
    for key, meant in (
        ("sedes", "seeds"),
        ("stratgies", "strategies"),
        ("max_epoch", "max_epochs"),
        ("callback", "callbacks"),
    ):
        yield _with(f"a key {key}", f"{key}: 3", repr(key), f"did you mean '{meant}'?")


CASES = [
    *_studies(),
    _study("empty", "", "found None"),
    _study("a list", "[1, 2]", "[1, 2]"),
    _study("a word", "abc", "'abc'"),
    _study("syntax", STUDY + "x: [", "line"),
    _study("a tab", STUDY.replace("  none", "\tnone"), "line 5"),
    _study("binary", bytes(range(256)), "not a text file"),
    _study("UTF-16", STUDY.encode("utf-16"), "not a text file"),
    _study("null byte", STUDY + "a\0b: 1", "line"),
    _study(
        "object tag", STUDY.replace("seeds: 1", "seeds: !!python/object/apply:os.system ['touch x']"), "python/object"
    ),
    _study("object tag in a name", STUDY.replace("name: tiny", "name: !!python/name:os.system"), "python/name"),
    _study("alias to itself", STUDY + "trainer: &a {a: *a}\n", "line 9", "alias"),
    _study("two documents", STUDY + "---\n" + STUDY, "document"),
    _study("key twice", STUDY + "seeds: 2\n", "'seeds'", "twice", "line 9"),
    _study(
        "model twice",
        STUDY.replace("models: {mlp", "models: {mlp: {class_path: RNNModule}, mlp"),
        "'mlp'",
        "twice",
        "line 3",
    ),
    _study(
        "strategy twice",
        STUDY.replace("strategies:", "strategies:\n  none: {class_path: ValueClip}"),
        "'none'",
        "twice",
    ),
    _study(
        "argument twice",
        STUDY.replace("{max_norm: 1.0}", "{max_norm: 1.0, max_norm: 2.0}"),
        "'max_norm'",
        "twice",
        "line 6",
    ),
    _study("a key that is a list", STUDY + "? [1]\n: 2\n", "line 9"),
    _with("models empty", "models: {}", "models"),
    _with("strategies empty", "strategies: {}", "strategies"),
    _with("model null", "models: {mlp: null}", "models.mlp"),
    _with("model a word", "models: {mlp: abc}", "models.mlp", "abc"),
    _with("model a number", "models: {mlp: 7}", "models.mlp", "7"),
    _with("model a list", "models: {mlp: [1]}", "models.mlp", "[1]"),
    _with("strategy as a model", "models: {mlp: {class_path: NormClip}}", "models.mlp", "NormClip"),
    _with("class is a function", "models: {mlp: {class_path: os.getcwd}}", "models.mlp", "os.getcwd"),
    _with("class_path missing", "models: {mlp: {init_args: {in_features: 20}}}", "models.mlp", "class_path"),
    _with("class_path a number", "models: {mlp: {class_path: 7}}", "models.mlp", "7"),
    _with("class of a module that is not there", "models: {mlp: {class_path: nowhere.MLP}}", "models.mlp", "nowhere"),
    _with(
        "model misspelled",
        "models: {mlp: {class_path: MLPRegresor}}",
        "models.mlp",
        "'MLPRegresor'",
        "did you mean 'MLPRegressor'?",
    ),
    _with(
        "model with a path misspelled",
        "models: {mlp: {class_path: lightning_clip.MLPRegresor}}",
        "MLPRegresor",
        "did you mean 'MLPRegressor'?",
    ),
    _model("in_feature: 20", "in_feature", "did you mean 'in_features'?"),
    _model("hidden_size: 20", "hidden_size", "did you mean 'hidden_sizes'?"),
    _model("hidden_sizes: 5", "hidden_sizes", "5"),
    _model("hidden_sizes: [0]", "0", "positive whole numbers"),
    _model("hidden_sizes: [a]", "a"),
    _model("in_features: -3", "-3"),
    _model("in_features: .nan", "in_features"),
    _model("optimizer: {class_path: SDG}", "'SDG'", "did you mean 'SGD'?"),
    _model("optimizer: {class_path: SGD, init_args: {lr: abc}}", "lr", "abc"),
    _model("optimizer: {class_path: SGD, init_args: {lr: -1.0}}", "-1"),
    _strategy("none", "'none'"),
    _strategy("null", "None"),
    _strategy("[1]", "[1]"),
    _strategy("{class_path: NormClp}", "'NormClp'", "did you mean 'NormClip'?"),
    _strategy("{class_path: lightning_clip.NormClp}", "NormClp", "did you mean 'NormClip'?"),
    _strategy("{class_path: autoclip}", "'autoclip'", "did you mean 'AutoClip'?"),
    _strategy("{class_path: Quux}", "'Quux'"),
    _strategy("{class_path: MLPRegressor}", "MLPRegressor"),
    _strategy("{classpath: NormClip}", "classpath", "did you mean 'class_path'?"),
    _strategy("{class_path: NormClip, args: {max_norm: 1}}", "args"),
    _strategy("{class_path: NormClip, init_args: {max_nrm: 1}}", "max_nrm", "did you mean 'max_norm'?"),
    _strategy("{class_path: NormClip, init_args: 7}", "7"),
    _strategy("{class_path: Chain, init_args: {strategies: []}}", "strategies", "[]"),
    _strategy("{class_path: Chain, init_args: {strategies: [{class_path: NormClp}]}}", "NormClp"),
    _strategy("{class_path: AutoClip, init_args: {percentile: 200}}", "percentile=200"),
    _strategy("{class_path: ZClip, init_args: {mode: adaptve}}", "adaptve"),
    _norm("-1", "-1"),
    _norm("0", "0"),
    _norm(".nan", "nan"),
    _norm(".inf", "inf"),
    _norm("1e400", "inf"),
    _norm("1.0e+400", "inf"),
    _norm("null", "None"),
    _norm("true", "True"),
    _norm("abc", "abc"),
    _norm("[1]", "1"),
    _data("{class_path: RegresionDataModule}", "'RegresionDataModule'", "did you mean 'RegressionDataModule'?"),
    _data("{class_path: MLPRegressor}", "MLPRegressor"),
    _data("{class_path: RegressionDataModule, init_args: {n_samples: 0}}", "n_samples=0"),
    _data("{class_path: RegressionDataModule, init_args: {n_samples: 1}}", "n_samples=1"),
    _data("{class_path: RegressionDataModule, init_args: {source: boston}}", "boston"),
    _data("{class_path: RegressionDataModule, init_args: {batch_size: 0}}", "batch_size=0"),
    _run(
        "another number of features",
        "models: {mlp: {class_path: MLPRegressor, init_args: {in_features: 7}}}",
        "in_features=7",
        "set in_features=20",
    ),
    _run("CSV missing", "data: {class_path: TimeSeriesDataModule, init_args: {path: none.csv}}", "none.csv"),
    _run("text missing", "data: {class_path: CharTextDataModule, init_args: {path: none.txt}}", "none.txt"),
    _run(
        "an LSTM on a table",
        "models: {lstm: {class_path: LSTMModule, init_args: {in_features: 20, out_features: 1, task: regression}}}",
        "LSTMModule",
        "(32, 20)",
    ),
    _run(
        "an LSTM that classifies a table",
        "models: {lstm: {class_path: LSTMModule, init_args: {in_features: 20, out_features: 4}}}",
        "LSTMModule",
        "(32, 20)",
    ),
    _with("name with a slash", "name: a/b", "name", "'a/b'"),
    _with("name with a backslash", "name: 'a\\b'", "name", "a\\\\b"),
    _with("name empty", "name: ''", "name", "''"),
    _with("name a dot", "name: '..'", "name", "'..'"),
    _with("name with a null byte", 'name: "a\\0b"', "name", "'a\\x00b'"),
    _with("name with a newline", 'name: "a\\nb"', "name", "'a\\nb'"),
    _with("name with an escape", 'name: "\\e[31mx"', "name", "'\\x1b[31mx'"),
    _with("name too long", f"name: {'n' * 300}", "name", "nnn", "long"),
    _with("model name with an escape", 'models: {"\\e[31mx": {class_path: MLPRegressor}}', "models", "'\\x1b[31mx'"),
    _with(
        "model name with another control character",
        'models: {"a\\x9bb": {class_path: MLPRegressor}}',
        "models",
        "'a\\x9bb'",
    ),
    _with(
        "model name that turns the text around",
        'models: {"a\\u202eb": {class_path: MLPRegressor}}',
        "models",
        "'a\\u202eb'",
    ),
    _with("model name a path", "models: {../../evil: {class_path: MLPRegressor}}", "models", "'../../evil'"),
    _with("model name a number", "models: {7: {class_path: MLPRegressor}}", "models", "7"),
    _with("model name empty", "models: {'': {class_path: MLPRegressor}}", "models", "''"),
    _with("model name too long", f"models: {{{'m' * 300}: {{class_path: MLPRegressor}}}}", "models", "mmm", "long"),
    _with("strategy name with an escape", 'strategies: {"\\e]0;x\\a": {class_path: NoClip}}', "strategies", "\\x1b"),
    _with("strategy name with a newline", 'strategies: {"a\\nb": {class_path: NoClip}}', "strategies", "'a\\nb'"),
    _with(
        "names that collide",
        "models: {a: {class_path: MLPRegressor}, a-norm: {class_path: MLPRegressor}}\n"
        "strategies: {norm-b: {class_path: NoClip}, b: {class_path: NoClip}}",
        "a-norm-b",
        "same record",
    ),
    _with("Trainer argument that is not there", "trainer: {max_step: 3}", "max_step"),
    _with("Trainer argument of another type", "trainer: {max_steps: abc}", "max_steps", "abc"),
    _with("Trainer argument out of range", "trainer: {limit_train_batches: -1.0}", "limit_train_batches", "-1"),
    _with("gradient_clip_val beside", "trainer: {gradient_clip_val: 1.0}", "gradient_clip_val"),
    _with("max_epochs in the trainer too low", "trainer: {max_epochs: 0}", "max_epochs", "0"),
    _with("max_steps 0", "trainer: {max_steps: 0}", "max_steps", "0"),
    _with("limit_train_batches 0", "trainer: {limit_train_batches: 0}", "limit_train_batches"),
    _with("setting a word", "settings: [abc]", "settings", "abc"),
    _with("setting with a key misspelled", "settings: [{axs: {a: 1}}]", "axs", "did you mean 'axes'?"),
    _with("axes a word", "settings: [{axes: abc}]", "axes", "abc"),
    _with("axes with a slash", "settings: [{axes: {a: x/y}}]", "axes", "x/y"),
    _with("axes NaN", "settings: [{axes: {length: .nan}}]", "axes", "nan"),
    _with("axes infinite", "settings: [{axes: {length: .inf}}]", "axes", "inf"),
    _with("axes with an escape", 'settings: [{axes: {"\\e[31m": 1}}]', "axes", "\\x1b"),
    _with("axes with a word with an escape", 'settings: [{axes: {a: "\\e[31m"}}]', "axes", "\\x1b"),
    _with("axes null", "settings: [{axes: {length: null}}]", "axes", "None"),
    _with("axes true", "settings: [{axes: {length: true}}]", "axes", "True"),
    _with("setting with an unknown model", "settings: [{models: [mpl]}]", "mpl", "did you mean 'mlp'?"),
    _with("setting with an unknown strategy", "settings: [{strategies: [nrom]}]", "nrom", "did you mean 'norm'?"),
    _with("setting with models a word", "settings: [{models: mlp}]", "models", "'mlp'"),
    _with("setting with data of another class", "settings: [{data: {class_path: Nope}}]", "'Nope'"),
    _with("setting with a value out of range", "settings: [{data: {init_args: {batch_size: 0}}}]", "batch_size=0"),
    _with("grid with an unknown model", "grid: {mpl: [none]}", "grid", "mpl", "did you mean 'mlp'?"),
    _with("grid with an unknown strategy", "grid: {mlp: [nome]}", "grid.mlp", "nome", "did you mean"),
    _with("grid without a list", "grid: {mlp: none}", "grid.mlp", "'none'"),
    _with("callback is no callback", "callbacks: [{class_path: NormClip}]", "callbacks", "NormClip"),
    _with(
        "callback misspelled",
        "callbacks: [{class_path: StopWhenSolvd}]",
        "callbacks",
        "StopWhenSolvd",
        "did you mean 'StopWhenSolved'?",
    ),
    _with("callback a word", "callbacks: [abc]", "callbacks", "abc"),
    _with("experiment misspelled", "experiment: {class_path: Clif}", "experiment", "Clif"),
    _run("metrics misspelled", "metrics: [test_msee]", "metrics", "'test_msee'", "did you mean 'test_mse'?"),
]
