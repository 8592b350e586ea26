"""`fit`, `validate`, `test` and `predict`: LightningCLI with the classes of this package."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jsonargparse import ActionYesNo
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.model_helpers import is_overridden

import lightning_clip.callbacks
import lightning_clip.datamodules
import lightning_clip.modules
import lightning_clip.sinks
import lightning_clip.strategies  # noqa: F401  (jsonargparse finds a class by its bare name once it is imported)
from lightning_clip._errors import InputError, constructor_error, is_from_lightning
from lightning_clip.callbacks import RichGradientReport
from lightning_clip.cli.checkpoint import check_checkpoint, misfit
from lightning_clip.cli.parser import OneLineParser
from lightning_clip.cli.saved_config import SavedConfig

_LOADED = {"fit": "train", "validate": "val"}


class _Parser(OneLineParser, LightningArgumentParser):
    """One class for all runs: jsonargparse keeps the parsers of parts by the class of the parser of the whole."""


class SizedCLI(LightningCLI):
    """LightningCLI that takes the sizes of the model from the data, and prints the report of a fit."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Link the sizes, and add the option for the report."""
        about = "print the report when a fit ends, unless the configuration has a RichGradientReport"
        parser.add_argument("--report", action=ActionYesNo(no_prefix="no-"), default=True, help=about)
        for size in ("in_features", "out_features"):
            parser.link_arguments(f"data.{size}", f"model.init_args.{size}", apply_on="instantiate")

    def _parse_ckpt_path(self) -> None:
        """Keep the configuration as the user gave it.

        Lightning would add the hyperparameters of the checkpoint, and refuse the sizes among them, which are linked.
        """

    def before_instantiate_classes(self) -> None:
        """Refuse what is no checkpoint, before any work is done."""
        check_checkpoint(self._get(self.config, "ckpt_path"))

    def _run_subcommand(self, subcommand: str) -> None:
        """Run; report in one line that there is no data, and a checkpoint that does not fit the model."""
        loader = f"{_LOADED.get(subcommand, subcommand)}_dataloader"
        if self.datamodule is None and not is_overridden(loader, self.model):
            raise InputError(f"{subcommand}: name a data module with --data; `lightning-clip list data` lists some")
        try:
            super()._run_subcommand(subcommand)
        except (RuntimeError, ValueError) as error:
            path = self._get(self.config, "ckpt_path")
            problem = misfit(path, error) if path else None
            if problem is None:
                raise
            raise problem from error

    def _set_seed(self) -> None:
        """Seed; refuse what NumPy does not take as a seed."""
        seed = self._get(self.config, "seed_everything")
        if isinstance(seed, int) and not 0 <= seed < 2**32:
            raise InputError(f"--seed_everything {seed}: a seed is a whole number from 0 to {2**32 - 1}")
        super()._set_seed()

    def instantiate_classes(self) -> None:
        """Build the objects; report what jsonargparse refuses in one line, and raise what a constructor raised."""
        parser: Any = self.parser
        try:
            super().instantiate_classes()
            return
        except (TypeError, ValueError) as error:
            problem = constructor_error(error, parser.raised)
            if problem is None:
                parser.error(str(error), error)
                raise
        raise problem

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build the Trainer; report the options that it refuses in one line."""
        try:
            trainer = super().instantiate_trainer(**kwargs)
        except (TypeError, ValueError, RuntimeError) as error:
            if not is_from_lightning(error):
                raise
            raise InputError(f"trainer: {error}") from error
        if self.subcommand == "fit" and self._get(self.config, "report"):
            trainer.callbacks.append(RichGradientReport())  # type: ignore[attr-defined]  # of several, one prints
        return trainer


def run(args: list[str]) -> int:
    """Run `fit`, `validate`, `test` or `predict` with its options, and return the exit code."""
    run_cli(args, SizedCLI)
    return 0


def run_cli(args: list[str], kind: type[SizedCLI]) -> Any:
    """Run a subcommand of Lightning.

    Args:
        args: The subcommand and its options.
        kind: The class of the command line.

    Returns:
        The command line, after its subcommand has run.
    """
    command = {args[0]: kind.subcommands()[args[0]]}  # a parser for each command takes longer than all the rest
    one_command = type(kind.__name__, (kind,), {"subcommands": staticmethod(lambda: command)})
    with _without_advice(), SavedConfig.kept_if_used():
        return one_command(
            args=args,
            parser_class=_Parser,
            parser_kwargs={"prog": "lightning-clip"},
            save_config_callback=SavedConfig,
            seed_everything_default=0,
        )


class _BuildingCLI(SizedCLI):
    """LightningCLI that builds what `fit` would train, and trains nothing."""

    def _run_subcommand(self, subcommand: str) -> None:
        """Do nothing."""


def module_of(options: list[str]) -> LightningModule:
    """Return the module that `--config`, `--model` and `--data` describe, without training it.

    Args:
        options: The options, as for `fit`.
    """
    logging.disable(logging.INFO)  # the device and the seed of a training that there is not
    try:
        cli = run_cli(["fit", *options, "--trainer.logger=false", "--ckpt_path=null"], _BuildingCLI)
    finally:
        logging.disable(logging.NOTSET)
    module: LightningModule = cli.model
    return module


@contextmanager
def _without_advice() -> Iterator[None]:
    """Hide what is not about the run: advice on workers, deprecated names that Lightning uses, its other products."""
    loggers = [logging.getLogger(f"{name}.utilities.rank_zero") for name in ("lightning.pytorch", "pytorch_lightning")]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="LightningCLI's args parameter")
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        watched = r".*callbacks used to create the checkpoint.*\['GradientMonitor'\]\.$"  # the report has added it
        warnings.filterwarnings("ignore", message=watched)
        warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
        warnings.filterwarnings("ignore", message=r"(?s)\s.*(deprecated|Deprecation)", category=DeprecationWarning)
        for logger in loggers:  # of the two packages, the one imported last gives its name to the messages of both
            logger.addFilter(_is_about_the_run)
        try:
            yield
        finally:
            for logger in loggers:
                logger.removeFilter(_is_about_the_run)


def _is_about_the_run(record: logging.LogRecord) -> bool:
    return "Tip: For seamless" not in record.getMessage()
