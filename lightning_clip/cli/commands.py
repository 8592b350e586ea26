"""`compare` and `report` as commands: their options, read before anything heavy is imported."""

import shlex
from pathlib import Path

from jsonargparse.typing import PositiveInt

from lightning_clip.cli.parser import OneLineParser

ENGINE_NAMES = ("processes", "loky", "dask", "ray")
"""The keys of `studies.engines.ENGINES`, which takes seconds to import."""

_ENGINE = """\
where to run: in processes on this machine (processes forks them, loky is joblib's own), on a Dask cluster
(at DASK_SCHEDULER_ADDRESS, or a new one on this machine) or on a Ray cluster (at RAY_ADDRESS, or a new one on this
machine); dask and ray are extras"""


def run_compare(args: list[str]) -> int:
    """Run `compare` with its options, and return the exit code."""
    parser = OneLineParser(prog="lightning-clip compare", description="Run a study and print the comparison.")
    parser.add_argument("--config", default="mlp-regression", help="a study's YAML file, or the name of a built-in one")
    parser.add_argument("--seeds", type=PositiveInt, help="number of seeds; by default, as many as the study says")
    parser.add_argument("--jobs", type=PositiveInt, help="runs at a time; by default, one per core or worker")
    parser.add_argument("--engine", choices=list(ENGINE_NAMES), default="processes", help=_ENGINE)
    parser.add_argument("--output", help="folder for the results; by default, a new one under runs/")
    parser.add_argument("--resume", action="store_true", help="continue the interrupted study in --output")
    options = parser.parse_args(args[1:])

    from lightning_clip.cli.compare import compare
    from lightning_clip.studies.engines import ENGINES

    return compare(
        options.config,
        seeds=options.seeds,
        jobs=options.jobs,
        output=Path(options.output) if options.output else None,
        resume=options.resume,
        command=shlex.join(["lightning-clip", *args]),
        engine=ENGINES[options.engine](),
    )


def run_report(args: list[str]) -> int:
    """Run `report` with its options, and return the exit code."""
    parser = OneLineParser(prog="lightning-clip report", description="Reprint the report of a study or run.")
    parser.add_argument("path", type=str, help="the folder of a study, or the .jsonl record of one run")
    path = Path(parser.parse_args(args[1:]).path)

    from lightning_clip.cli.report import report

    report(path)
    return 0


def run_fit(args: list[str]) -> int:
    """Run a subcommand of LightningCLI with its options, and return the exit code."""
    from lightning_clip.cli.fit import run

    return run(args)
