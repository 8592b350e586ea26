"""Bad input of `lightning-clip fit`: options, configuration files, data files, and models that do not fit the data."""

from collections.abc import Iterator
from functools import partial

from lightning_clip.cli.main import main
from tests.faults.bad_input.case import Command, Files, Warned

ALWAYS = (
    "--trainer.accelerator=cpu",
    "--trainer.logger=false",
    "--trainer.enable_checkpointing=false",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
    "--trainer.max_epochs=1",
    "--trainer.limit_train_batches=1",
    "--trainer.limit_val_batches=1",
)
TABLE = ("--model=MLPRegressor", "--data=RegressionDataModule")
SERIES = "".join(f"{k % 7}.5,{k % 5}\n" for k in range(400))
LINES = SERIES.splitlines(keepends=True)


def _fit(name: str, args: tuple[str, ...], *says: str, files: Files | None = None) -> Command:
    return Command("fit", name, says, files or {}, args=("fit", *ALWAYS, *args))


def _option(*args: str, says: tuple[str, ...]) -> Command:
    return _fit(" ".join(args), (*TABLE, *args), *says)


def _callback(name: str, *args: str, says: tuple[str, ...]) -> Command:
    options = tuple(f"--trainer.callbacks.{arg}" for arg in args)
    return _fit(f"{name} {' '.join(args)}", (*TABLE, f"--trainer.callbacks+={name}", *options), *says)


def _clip(strategy: str, says: tuple[str, ...]) -> Command:
    config = f"trainer: {{callbacks: [{{class_path: GradientClipping, init_args: {{strategy: {strategy}}}}}]}}"
    return _config(f"strategy {strategy}", config, *says)


def _config(name: str, content: str | bytes | None, *says: str) -> Command:
    return _fit(f"config: {name}", (*TABLE, "--config", "c.yaml"), *says, files={"c.yaml": content})


def _series(name: str, content: str | bytes | None, *says: str, options: tuple[str, ...] = ()) -> Command:
    model = ("--model=LSTMModule", "--model.task=regression", "--model.many_to_many=true", "--model.hidden_size=2")
    data = ("--data=TimeSeriesDataModule", "--data.path=a.csv", "--data.window=8", *options)
    files: Files = {} if content == "" and name == "missing" else {"a.csv": content}
    return _fit(f"CSV: {name}", (*model, *data), *says, files=files)


def _text(name: str, content: str | bytes | None, *says: str) -> Command:
    files: Files = {} if name == "missing" else {"a.txt": content}
    args = ("--model=TBPTTModule", "--model.hidden_size=2", "--data=CharTextDataModule", "--data.path=a.txt")
    return _fit(f"text: {name}", args, "a.txt", *says, files=files)


def _sink(name: str, kind: str, path: str, *says: str, files: Files) -> Warned:
    sink = f"{{class_path: lightning_clip.{kind}, init_args: {{path: {path}}}}}"
    config = f"trainer: {{callbacks: [{{class_path: GradientClipping, init_args: {{sinks: [{sink}]}}}}]}}\n"
    args = ["fit", *ALWAYS, *TABLE, "--config=c.yaml"]
    return Warned("fit", f"sink {name}", says, {**files, "c.yaml": config}, run=partial(main, args))


def _misfit(name: str, model: str, data: str, *says: str) -> Command:
    def options(kind: str, words: str) -> Iterator[str]:
        first, *others = words.split()
        yield f"--{kind}={first}"
        yield from (f"--{kind}.{other}" for other in others)

    return _fit(name, (*options("model", model), *options("data", data)), model.split()[0], *says)


CASES = [
    _fit("no model", ("--data=RegressionDataModule",), "fit: name a class with --model", "--config"),
    _fit("no data", ("--model=MLPRegressor",), "fit: name a data module with --data", "lightning-clip list data"),
    _fit("a file without --config", (*TABLE, "run.yaml"), "did you mean --config run.yaml?"),
    _fit(
        "a class of another kind",
        ("--model=torch.nn.Linear", TABLE[1]),
        "model: torch.nn.Linear is not a subclass of LightningModule",
    ),
    _fit(
        "model misspelled",
        ("--model=MLPRegresor", "--data=RegressionDataModule"),
        "'MLPRegresor'",
        "did you mean 'MLPRegressor'?",
    ),
    _fit(
        "model in lower case",
        ("--model=lstmmodule", "--data=RegressionDataModule"),
        "'lstmmodule'",
        "did you mean 'LSTMModule'?",
    ),
    _fit("model that is a strategy", ("--model=NormClip", "--data=RegressionDataModule"), "NormClip"),
    _fit(
        "data misspelled",
        ("--model=MLPRegressor", "--data=TimeSeriesModule"),
        "'TimeSeriesModule'",
        "did you mean 'TimeSeriesDataModule'?",
    ),
    _fit("model of a module that is not there", ("--model=nowhere.MLP", "--data=RegressionDataModule"), "nowhere.MLP"),
    _option("--trainer.max_epochs=-3", says=("max_epochs", "-3")),
    _option("--trainer.max_epochs=abc", says=("trainer.max_epochs", "abc")),
    _option("--trainer.max_eposch=3", says=("--trainer.max_eposch=3", "did you mean '--trainer.max_epochs'?")),
    _option("--trainer.devices=0", says=("0",)),
    _option("--trainer.accelerator=abacus", says=("abacus",)),
    _option("--trainer.precision=7", says=("precision", "7")),
    _option("--trainer.gradient_clip_val=abc", says=("gradient_clip_val", "abc")),
    _option("--trainer.limit_train_batches=-1", says=("limit_train_batches", "-1")),
    _option("--trainer.logger=NoLogger", says=("'NoLogger'",)),
    _option("--seed_everything=-1", says=("--seed_everything", "-1")),
    _option("--seed_everything=abc", says=("seed_everything", "abc")),
    _option("--seed_everything=1.5", says=("seed_everything", "1.5")),
    _option("--seed_everything=5000000000", says=("--seed_everything", "5000000000")),
    _option("--model.hiden_sizes=[3]", says=("hiden_sizes", "did you mean 'hidden_sizes'?")),
    _option("--model.hidden_sizes=[0]", says=("0", "positive whole numbers")),
    _option("--model.hidden_sizes=abc", says=("hidden_sizes", "abc")),
    _option("--data.n_samples=0", says=("n_samples=0",)),
    _option("--data.noise=-1", says=("noise=-1",)),
    _option("--data.sourse=diabetes", says=("sourse", "did you mean 'source'?")),
    _option("--frobnicate=3", says=("--frobnicate=3",)),
    _option("--print_config=abc", says=("abc",)),
    _callback("GradientCliping", says=("'GradientCliping'", "did you mean 'GradientClipping'?")),
    _callback("EarlyStoping", says=("'EarlyStoping'", "did you mean 'EarlyStopping'?")),
    _callback("NormClip", says=("NormClip",)),
    _callback("GradientClipping", "strategy=NormClp", says=("'NormClp'", "did you mean 'NormClip'?")),
    _callback("GradientClipping", "strategy=3", says=("strategy", "3")),
    _callback("GradientClipping", "strategy=abc", says=("'abc'",)),
    _callback("GradientClipping", "group_by=modul", says=("group_by", "modul")),
    _callback("GradientClipping", "group_by={a: x}", says=("group_by", "x")),
    _callback("GradientClipping", "flush_every_n_steps=0", says=("flush_every_n_steps=0",)),
    _callback("GradientClipping", "sinks=r.jsonl", says=("sinks", "r.jsonl")),
    _callback("GradientClipping", "sinks=[r.jsonl]", says=("r.jsonl",)),
    _callback("GradientClipping", "strategy=NormClip", "strategy.max_norm=-1", says=("max_norm=-1",)),
    _callback(
        "GradientClipping", "strategy=NormClip", "strategy.max_nrm=1", says=("max_nrm", "did you mean 'max_norm'?")
    ),
    _callback("GradientClipping", "strategi=NormClip", says=("strategi", "did you mean 'strategy'?")),
    _callback("NonFiniteGuard", "action=skipp", says=("action", "skipp")),
    _callback("DivergenceRollback", "lr_factor=2", says=("lr_factor=2",)),
    _callback("StrategySwitcher", "rungs=[NormClip]", says=("StrategySwitcher", "GradientClipping")),
    _callback("TemporalGradientMonitor", "every_n_steps=0", says=("every_n_steps=0",)),
    _fit(
        "callback twice", (*TABLE, *["--trainer.callbacks+=GradientClipping"] * 2), "GradientClipping", "more than one"
    ),
    _fit(
        "clipping twice",
        (*TABLE, "--trainer.callbacks+=GradientClipping", "--trainer.gradient_clip_val=1.5"),
        "gradient_clip_val=1.5",
    ),
    _clip("{class_path: NormClip, init_args: {max_norm: .inf}}", says=("max_norm=inf", "finite")),
    _clip("{class_path: NormClip, init_args: {max_norm: 1.0e+400}}", says=("max_norm=inf", "finite")),
    _clip("{class_path: NormClip, init_args: {max_norm: 1e400}}", says=("max_norm", "inf", "finite")),
    _clip("{class_path: NormClip, init_args: {max_norm: .nan}}", says=("max_norm=nan",)),
    _clip("{class_path: Chain, init_args: {strategies: []}}", says=("strategies=[]",)),
    _clip("{class_path: Quux}", says=("'Quux'",)),
    _clip("{init_args: {max_norm: 1}}", says=("strategy", "{'max_norm': 1}")),
    _config("missing", None, "c.yaml"),
    _config("syntax", "trainer: [", "c.yaml", "line"),
    _config("binary", b"\xa7\xff\0\1", "c.yaml", "not a text file"),
    _config("UTF-16", "trainer: {}\n".encode("utf-16"), "c.yaml", "not a text file"),
    _config("null byte", "trainer: {}\na\0b: 1\n", "c.yaml"),
    _config("object tag", "trainer: !!python/object/apply:os.system ['touch x']\n", "c.yaml", "python/object"),
    _config("a list", "[1, 2]\n", "c.yaml", "[1, 2]"),
    _config("a word", "abc\n", "c.yaml", "abc"),
    _config("key twice", "seed_everything: 1\nseed_everything: 2\n", "c.yaml", "'seed_everything'", "twice", "line 2"),
    _config(
        "key twice below", "trainer:\n  max_epochs: 1\n  max_epochs: 2\n", "c.yaml", "'max_epochs'", "twice", "line 3"
    ),
    _config("key misspelled", "trianer: {max_epochs: 1}\n", "c.yaml", "trianer", "did you mean 'trainer.max_epochs'?"),
    _config(
        "key of the trainer misspelled",
        "trainer: {max_epoch: 1}\n",
        "c.yaml",
        "max_epoch",
        "did you mean 'trainer.max_epochs'?",
    ),
    _config(
        "callback misspelled",
        "trainer: {callbacks: [{class_path: RichGradientReprt}]}\n",
        "c.yaml",
        "'RichGradientReprt'",
        "did you mean 'RichGradientReport'?",
    ),
    _config("callbacks a word", "trainer: {callbacks: abc}\n", "c.yaml", "callbacks", "abc"),
    _config("value of another type", "trainer: {max_epochs: abc}\n", "c.yaml", "max_epochs", "abc"),
    _config("alias to itself", "trainer: &a {a: *a}\n", "c.yaml"),
    _fit("config: not there", (*TABLE, "--config", "none.yaml"), "none.yaml"),
    _series("missing", "", "No such file"),
    _series("empty", "", "empty"),
    _series("text", "Dear diary,\ntoday\n", "line 2"),
    _series("infinite", "a,b\n1,2\ninf,3\n", "line 3", "infinite"),
    _series("a short line", "".join([*LINES[:9], "7\n", *LINES[9:]]), "line 10", "expected 2 cells, found 1"),
    _series("Latin-1", "caf\xe9,b\n1,2\n".encode("latin-1"), "not UTF-8"),
    _series("a folder", None, "directory"),
    _series("null bytes", "1,2\n\0,3\n", "line 2"),
    _series("one row", "1,2\n", "1 step", "window=8"),
    _series("shorter than a window", "".join(LINES[:9]), "steps", "window=8"),
    _series("huge numbers", "".join([*LINES[:9], "1e300,1\n", *LINES[10:]]), "line 10", "too large"),
    _series("a missing value", "".join([*LINES[:9], ",1\n", *LINES[9:]]), "line 10", "missing"),
    _series(
        "a column that is not there",
        f"price,day\n{SERIES}",
        "'prize'",
        "did you mean 'price'?",
        options=("--data.columns=[prize]",),
    ),
    _series(
        "a target that is not there",
        f"price,day\n{SERIES}",
        "'Day'",
        "did you mean 'day'?",
        options=("--data.targets=[Day]",),
    ),
    _series("a delimiter of two characters", SERIES, "';;'", options=("--data.delimiter=;;",)),
    _series("another delimiter", SERIES.replace(",", ";"), "line 2", "delimiter"),
    _series("a window that is too long", SERIES, "window=9999", options=("--data.window=9999",)),
    _text("missing", None, "No such file"),
    _text("empty", "", "0 steps"),
    _text("short", "abc", "0 steps"),
    _text("Latin-1", "caf\xe9 au lait".encode("latin-1") * 40, "not UTF-8"),
    _text("a folder", None, "directory"),
    _misfit(
        "LSTM classification on a series",
        "LSTMModule",
        "TimeSeriesDataModule window=8",
        "(32, 8, 1)",
        "task='regression'",
    ),
    _misfit(
        "LSTM classification, every step, on a series",
        "LSTMModule many_to_many=true",
        "TimeSeriesDataModule window=8",
        "task='regression'",
    ),
    _misfit(
        "LSTM regression, last step, on a series",
        "LSTMModule task=regression",
        "TimeSeriesDataModule window=8",
        "many_to_many=True",
    ),
    _misfit(
        "LSTM regression, every step, on last steps",
        "LSTMModule task=regression many_to_many=true",
        "TimeSeriesDataModule window=8 last_step_only=true",
        "many_to_many=False",
    ),
    _misfit("LSTM on a table", "LSTMModule task=regression", "RegressionDataModule", "(500, 20)", "MLPRegressor"),
    _misfit("GRU on a table", "GRUModule", "RegressionDataModule", "(500, 20)", "MLPRegressor"),
    _misfit(
        "RNN regression on classes",
        "RNNModule task=regression",
        "TemporalOrderDataModule length=12",
        "task='classification'",
    ),
    _misfit(
        "LSTM predicts tokens of a series",
        "LSTMModule task=next_token",
        "TimeSeriesDataModule window=8",
        "task='regression'",
    ),
    _misfit("TBPTT of chunks on a series", "TBPTTModule task=regression", "TimeSeriesDataModule window=8", "Chunk"),
    _misfit("LSTM on chunks of text", "LSTMModule task=next_token", "CharTextDataModule", "TBPTTModule"),
    _sink("onto a folder", "JsonlSink", "sub", "sub", "directory", files={"sub": None}),
    _sink("below a file", "JsonlSink", "f/r.jsonl", "f", files={"f": "x"}),
    _sink("onto other text", "JsonlSink", "notes", "notes", "not a record", files={"notes": "a note"}),
    _sink("CSV, onto other text", "CsvSink", "notes", "notes", "header", files={"notes": "a note"}),
    _sink("onto the config itself", "JsonlSink", "c.yaml", "c.yaml", "not a record", files={}),
]
