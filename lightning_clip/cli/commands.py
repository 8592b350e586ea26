"""The commands: those with few options read them here, before anything heavy is imported."""

import shlex
import sys
from pathlib import Path

from jsonargparse.typing import NonNegativeInt, PositiveInt

from lightning_clip._errors import InputError
from lightning_clip.cli.parser import OneLineParser

ENGINE_NAMES = ("processes", "loky", "dask", "ray")
"""The keys of `studies.engines.ENGINES`, which takes seconds to import."""

_ENGINE = """\
where to run: in processes on this machine (processes forks them, loky is joblib's own), on a Dask cluster
(at DASK_SCHEDULER_ADDRESS, or a new one on this machine) or on a Ray cluster (at RAY_ADDRESS, or a new one on this
machine); dask and ray are extras"""


_SUGGEST_USAGE = """\
lightning-clip suggest RECORD.jsonl [--width N]
       lightning-clip suggest --config FILE … [--num_steps N]"""

_SUGGEST = """\
Print the norms of a run, which threshold each rule of thumb takes from them, what it would clip, and the lines to
paste. From a record, or, with the options of `lightning-clip fit`, from the first steps (200, or --num_steps) of a run
that is measured and not carried out."""


def run_compare(args: list[str]) -> int:
    """Run `compare` with its options, and return the exit code."""
    parser = OneLineParser(prog="lightning-clip compare", description="Run a study and print the comparison.")
    parser.add_argument("--list", action="store_true", help="list the built-in studies, what each shows and its time")
    parser.add_argument("--config", default="mlp-regression", help="a study's YAML file, or the name of a built-in one")
    parser.add_argument("--seeds", type=PositiveInt, help="number of seeds; by default, as many as the study says")
    parser.add_argument("--first-seed", type=NonNegativeInt, help="the seeds count from here, by default from 0")
    parser.add_argument("--jobs", type=PositiveInt, help="runs at a time; by default, one per core or worker")
    parser.add_argument("--engine", choices=list(ENGINE_NAMES), default="processes", help=_ENGINE)
    parser.add_argument("--output", help="folder for the results; by default, a new one under runs/")
    parser.add_argument("--resume", action="store_true", help="continue the interrupted study in --output")
    options = parser.parse_args(args[1:])

    if options.list:
        from lightning_clip.cli.study_list import study_list

        sys.stdout.write(study_list())
        return 0

    from lightning_clip.cli.compare import compare
    from lightning_clip.studies.engines import ENGINES

    return compare(
        options.config,
        seeds=options.seeds,
        first_seed=options.first_seed,
        jobs=options.jobs,
        output=Path(options.output) if options.output else None,
        resume=options.resume,
        command=shlex.join(["lightning-clip", *args]),
        engine=ENGINES[options.engine](),
    )


def run_report(args: list[str]) -> int:
    """Run `report` with its options, and return the exit code."""
    about = "Print the report of a study or a run, or several runs side by side, from their files."
    parser = OneLineParser(prog="lightning-clip report", description=about)
    parser.add_argument("paths", type=str, nargs="+", help="the folder of a study, or .jsonl records of runs")
    parser.add_argument("--json", action="store_true", help="print plain data: numbers, events, findings, differences")
    parser.add_argument("--fail-on", choices=["warning", "critical"], help="exit with 1 if there is such a finding")
    parser.add_argument("--html", help="write the report to this file, as a page that needs nothing else")
    parser.add_argument("--figures", help="write the figure to this folder, as PNG and SVG (needs matplotlib)")
    parser.add_argument("--width", type=PositiveInt, help="characters per line; by default, those of the terminal")
    parser.add_argument("--max-parameters", type=PositiveInt, help="parameters to list; by default, the largest")
    parser.add_argument("--follow", action="store_true", help="redraw until the run ends; for a record being written")
    options = parser.parse_args(args[1:])
    if not all(options.paths):
        raise InputError("report '': name the folder of a study, or the .jsonl records of runs")
    paths = [Path(path) for path in options.paths]

    if options.follow:
        if len(paths) > 1 or options.json or options.fail_on or options.html or options.figures:
            parser.error("--follow takes one record, and no other options than --width and --max-parameters")
        from lightning_clip.cli.follow import follow

        follow(paths[0], width=options.width, max_parameters=options.max_parameters)
        return 0

    from lightning_clip.cli.report import report
    from lightning_clip.reports.diagnosis.rule import Severity

    return report(
        paths,
        as_json=options.json,
        fail_on=Severity[options.fail_on.upper()] if options.fail_on else None,
        html=Path(options.html) if options.html else None,
        figures=Path(options.figures) if options.figures else None,
        width=options.width,
        max_parameters=options.max_parameters,
    )


def run_suggest(args: list[str]) -> int:
    """Run `suggest` with its options, and return the exit code."""
    options = args[1:]
    if not options:
        raise InputError("suggest: name the .jsonl record of a run, or a configuration as --config FILE")
    if {word.partition("=")[0] for word in options} & {"--config", "-c", "--model", "--data"}:
        from lightning_clip.cli.catalog import with_packaged_configs

        words = with_packaged_configs(options)

        from lightning_clip.cli.measured import suggest_config

        return suggest_config(words)
    parser = OneLineParser(prog="lightning-clip suggest", description=_SUGGEST, usage=_SUGGEST_USAGE)
    parser.add_argument("record", type=str, help="the .jsonl record of a run, or a configuration with --config")
    parser.add_argument("--width", type=PositiveInt, help="characters per line; by default, those of the terminal")
    parsed = parser.parse_args(options)

    from lightning_clip.cli.suggest import suggest

    return suggest(Path(parsed.record), width=parsed.width)


_REPLAY = """\
usage: lightning-clip replay CAPTURE [--json] [--width N] (--config FILE | --model CLASS [--model.OPTION VALUE])

Take a bad step again that BadStepCapture has written, and find out which sample, time step, layer and gate it came
from, and what each clipping strategy would have done.

  CAPTURE         the file, such as lightning_logs/version_0/bad_steps/step-000020-spike.pt
  --config FILE   the configuration of the run, such as the config.yaml beside its logs; may be repeated
  --model CLASS   or the class of the module; its options follow, as in `lightning-clip fit`; with sizes from --data
  --json          print plain data instead of text
  --width N       characters per line; by default, those of the terminal
"""


def run_replay(args: list[str]) -> int:
    """Run `replay` with its options, and return the exit code."""
    if {"-h", "--help"} & set(args):
        sys.stdout.write(_REPLAY)
        return 0
    words, width = [word for word in args[1:] if word != "--json"], None
    if "--width" in words:
        at = words.index("--width")
        given = words[at + 1] if at + 1 < len(words) else ""
        if not given.isdecimal() or int(given) < 1:
            raise InputError(f"{f'replay --width {given}'.rstrip()}: --width is a number of characters, such as 80")
        width = int(given)
        del words[at : at + 2]
    if not words or words[0].startswith("-"):
        raise InputError("replay: name the file of a bad step first; `lightning-clip replay --help` lists the options")

    from lightning_clip.cli.catalog import with_packaged_configs
    from lightning_clip.cli.replay import replay_file

    return replay_file(words[0], with_packaged_configs(words[1:]), as_json="--json" in args, width=width)


def run_fit(args: list[str]) -> int:
    """Run a subcommand of LightningCLI with its options, and return the exit code."""
    if {"-h", "--help"} & set(args):
        from lightning_clip.cli.fit_help import fit_help

        sys.stdout.write(fit_help(args[0]))
        return 0
    from lightning_clip.cli.catalog import with_packaged_configs

    words = with_packaged_configs(["--help" if word == "--help-all" else word for word in args])

    from lightning_clip.cli.fit import run

    return run(words)


def run_list(args: list[str]) -> int:
    """Run `list` with its options, and return the exit code."""
    from lightning_clip.cli.catalog import run

    return run(args)


def run_init(args: list[str]) -> int:
    """Run `init` with its options, and return the exit code."""
    from lightning_clip.cli.starter import run

    return run(args)


def run_completion(args: list[str]) -> int:
    """Run `completion` with its options, and return the exit code."""
    from lightning_clip.cli.completion import run

    return run(args)
