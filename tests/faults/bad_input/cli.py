"""Bad input on the command line: commands, options and paths of `compare` and `report`."""

from tests.faults.bad_input.case import Command

STUDY = """\
name: tiny
data: {class_path: RegressionDataModule}
models: {mlp: {class_path: MLPRegressor}}
strategies:
  none: {class_path: NoClip}
  norm: {class_path: NormClip, init_args: {max_norm: 1.0}}
seeds: 1
max_epochs: 1
"""
ROW = (
    '{"model": "mlp", "strategy": "none", "seed": 0, "diverged": false, "diverged_at_step": null, "steps": 3,'
    ' "seconds": 0.1, "clipped_fraction": 0.0, "metrics": {"test_mse": 1.0}}'
)
RESULTS = f'{{"study": "tiny", "version": "0.1.0", "runs": [{ROW}]}}'
OTHER = RESULTS.replace('"tiny"', '"other"')


def _no_command(*args: str, says: tuple[str, ...]) -> Command:
    return Command("cli", f"no command {' '.join(args)!r}", says, args=args)


def _compare(name: str, *args: str, says: tuple[str, ...], **files: str | bytes | None) -> Command:
    named = {key.replace("__", "/").replace("_json", ".json"): content for key, content in files.items()}
    return Command("cli", name, says, {"s.yaml": STUDY, **named}, args=("compare", *args))


def _option(option: str, value: str, *says: str) -> Command:
    return _compare(f"{option} {value!r}", "--config", "s.yaml", f"{option}={value}", says=(option.strip("-"), *says))


def _report(
    name: str, *args: str, says: tuple[str, ...], files: dict[str, str | bytes | None] | None = None
) -> Command:
    return Command("cli", f"report: {name}", says, files or {}, args=("report", *args))


_SMALL = """\
model: {class_path: MLPRegressor}
data: {class_path: RegressionDataModule}
trainer: {accelerator: cpu, logger: false, enable_progress_bar: false}
"""


def _suggest(
    name: str, *args: str, says: tuple[str, ...], files: dict[str, str | bytes | None] | None = None
) -> Command:
    return Command("cli", f"suggest: {name}", says, files or {}, args=("suggest", *args))


CASES = [
    _no_command("comparre", says=("'comparre'", "did you mean 'compare'?")),
    _no_command("reprot", says=("'reprot'", "did you mean 'report'?")),
    _no_command("Fit", says=("'Fit'", "did you mean 'fit'?")),
    _no_command("vaildate", says=("'vaildate'", "did you mean 'validate'?")),
    _no_command("tset", says=("'tset'", "did you mean 'test'?")),
    _no_command("predcit", says=("'predcit'", "did you mean 'predict'?")),
    _no_command("frobnicate", says=("'frobnicate'", "use one of init, list, compare, report, suggest, replay, fit")),
    _no_command("", says=("''", "use one of init, list, compare")),
    _no_command("--verison", says=("'--verison'", "did you mean '--version'?")),
    _no_command("-x", says=("'-x'",)),
    _no_command("s.yaml", says=("'s.yaml'",)),
    _no_command("\x1b[31mred", says=("'\\x1b[31mred'",)),
    _no_command("fit\n", says=("'fit\\n'", "did you mean 'fit'?")),
    _suggest("nothing", says=("record", "--config FILE")),
    _suggest("only an option", "--width=80", says=("suggest: name the .jsonl record of a run", "--config")),
    _suggest("an option before the record", "--width=80", "no.jsonl", says=("no.jsonl", "No such file")),
    _suggest("a misspelled option", "--widht=80", "no.jsonl", says=("--widht=80", "did you mean '--width'?")),
    _suggest("no data", "--model=MLPRegressor", says=("name a data module with --data", "lightning-clip list data")),
    Command("cli", "replay: a width that is missing", ("replay --width:",), {}, args=("replay", "a.pt", "--width")),
    Command("cli", "completion: no shell", ("name the shell", "bash, fish, zsh"), {}, args=("completion",)),
    _suggest("no such file", "no.jsonl", says=("no.jsonl", "No such file")),
    _suggest("a configuration", "a.yaml", says=("a.yaml", "--config FILE"), files={"a.yaml": "trainer: {}"}),
    _suggest("a folder", ".", says=("a folder", "Name the .jsonl record")),
    _suggest("another file", "a.jsonl", says=("a.jsonl",), files={"a.jsonl": "hello\n"}),
    _suggest("no steps", "--config=a.yaml", "--num_steps=0", says=("num_steps", "0"), files={"a.yaml": _SMALL}),
    _compare(
        "study: one letter missing",
        "--config",
        "mlp-regresion",
        says=("mlp-regresion", "did you mean 'mlp-regression'?"),
    ),
    _compare("study: another ending", "--config", "rnn-remedy", says=("rnn-remedy", "did you mean 'rnn-remedies'?")),
    _compare("study: capitals", "--config", "Cliff", says=("Cliff", "did you mean 'cliff'?")),
    _compare("study: underscores", "--config", "rnn_adding", says=("rnn_adding", "did you mean 'rnn-adding'?")),
    _compare("study: nothing like it", "--config", "qqq", says=("qqq", "name a .yaml file or one of cliff")),
    _compare("study: empty", "--config", "", says=("''", "name a .yaml file or one of cliff")),
    _compare("study: not there", "--config", "none.yaml", says=("none.yaml", "No such file")),
    _compare("study: a folder", "--config", "d.yaml", says=("d.yaml", "directory"), **{"d.yaml": None}),
    _compare("study: another ending of the file", "--config", "s.YAML", says=("s.YAML",)),
    _compare("study: an escape in its name", "--config", "\x1b[2Jx.yaml", says=("\\x1b[2Jx.yaml",)),
    _option("--seeds", "0", "seeds: expected a whole number of at least 1, found 0"),
    _option("--seeds", "-1", "-1"),
    _option("--seeds", "1.5", "1.5"),
    _option("--seeds", "1e6", "1e6"),
    _option("--seeds", "nan", "nan"),
    _option("--seeds", "", "''"),
    _option("--seeds", "true", "true"),
    _option("--jobs", "0", "0"),
    _option("--jobs", "-2", "-2"),
    _option("--jobs", "inf", "inf"),
    _option("--jobs", "two", "two"),
    _option("--engine", "spark", "spark", "processes", "dask"),
    _option("--engine", "Dask", "Dask", "did you mean 'dask'?"),
    _option("--resume", "maybe", "resume"),
    _compare("an option that is not there", "--sedes=3", says=("--sedes=3", "did you mean '--seeds'?")),
    _compare("an option of another command", "--model=MLPRegressor", says=("--model",)),
    _compare("a study without --config", "s.yaml", says=("did you mean --config s.yaml?",)),
    _compare("--resume without --output", "--config", "s.yaml", "--resume", says=("--resume", "--output")),
    _compare("--output is a file", "--config", "s.yaml", "--output", "s.yaml", says=("--output s.yaml", "in use")),
    _compare(
        "--output holds things", "--config", "s.yaml", "--output", "o", says=("--output o", "in use"), o__notes="x"
    ),
    _compare("--output below a file", "--config", "s.yaml", "--output", "s.yaml/o", says=("s.yaml/o",)),
    _compare("--output in /proc", "--config", "s.yaml", "--output", "/proc/o", says=("/proc/o",)),
    _compare(
        "--output with an escape",
        "--config",
        "s.yaml",
        "--output",
        "a\x1b[31m",
        says=("--output", "\\x1b"),
        **{"a\x1b[31m/x": "x"},
    ),
    _compare("--output with a null byte", "--config", "s.yaml", "--output", "a\0b", says=("--output", "\\x00")),
    _compare(
        "--output with a name too long", "--config", "s.yaml", "--output", "o" * 300, says=("ooo", "name too long")
    ),
    _compare(
        "--resume: another study",
        "--config",
        "s.yaml",
        "--output",
        "o",
        "--resume",
        says=("'other'", "'tiny'"),
        o__results_json=OTHER,
    ),
    _compare(
        "--resume: broken results",
        "--config",
        "s.yaml",
        "--output",
        "o",
        "--resume",
        says=("o/results.json",),
        o__results_json="{{{",
    ),
    _compare("--resume: no results", "--config", "s.yaml", "--output", "o", "--resume", says=("o",), o__notes="x"),
    _report("no path", says=("report: name the folder of a study, or .jsonl records of runs",)),
    _report("a width of 0", "a", "--width=0", says=("width: expected a whole number of at least 1, found 0",)),
    _report("a width in words", "a", "--width=wide", says=("a whole number of at least 1, found 'wide'",)),
    _report("missing", "nope", says=("nope", "No such file")),
    _report("two paths, both missing", "a", "b", says=("a", "No such file")),
    _report("empty", "", says=("''",)),
    _report("a folder without results", "d", says=("d", "results.json"), files={"d": None}),
    _report("an option that is not there", "--format=json", says=("--format=json",)),
    _report("a null byte", "a\0b", says=("\\x00",)),
    _report("a name too long", "o" * 300, says=("ooo", "name too long")),
    _report("an escape in its name", "\x1b[31m.jsonl", says=("\\x1b[31m.jsonl",)),
    _report("below a file", "f/x", says=("f/x",), files={"f": "x"}),
    _report("a YAML file", "s.yaml", says=("s.yaml", "line 1"), files={"s.yaml": STUDY}),
    _report("a picture", "p.png", says=("p.png", "line 1"), files={"p.png": b"\x89PNG\r\n\x1a\n\0\0\0"}),
    _report(
        "its results.json",
        "o/results.json",
        says=("o/results.json", "lightning-clip report o"),
        files={"o/results.json": RESULTS},
    ),
    _report(
        "its records folder",
        "o/records",
        says=("o/records",),
        files={"o/records/a.jsonl": "x", "o/results.json": RESULTS},
    ),
]
