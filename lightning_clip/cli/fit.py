"""`fit`, `validate`, `test` and `predict`: LightningCLI over our classes."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

import lightning_clip.callbacks
import lightning_clip.datamodules
import lightning_clip.modules
import lightning_clip.sinks
import lightning_clip.strategies  # noqa: F401  (class names without a path are found once the classes exist)
from lightning_clip._errors import is_known, record_constructor_errors
from lightning_clip.cli.parser import OneLineParser


class _SizedCLI(LightningCLI):
    """LightningCLI that takes the sizes of the model from the data."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Link the sizes."""
        for size in ("in_features", "out_features"):
            parser.link_arguments(f"data.{size}", f"model.init_args.{size}", apply_on="instantiate")

    def instantiate_classes(self) -> None:
        """Build what the configuration describes; a mistake in the configuration is told in one line."""
        raised = record_constructor_errors(self.parser)
        try:
            super().instantiate_classes()
        except (TypeError, ValueError) as error:
            if not raised:  # jsonargparse itself refuses the configuration
                self.parser.error(str(error), error)
            if is_known(raised[0]):
                self.parser.error(str(raised[0]), raised[0])
            raise raised[0]  # noqa: B904 (the error of the constructor, with its own traceback)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build the Trainer; options that it refuses are a mistake in the configuration."""
        try:
            return super().instantiate_trainer(**kwargs)
        except (TypeError, ValueError) as error:
            self.parser.error(f"trainer: {error}", error)


def run(args: list[str]) -> int:
    """Run `fit`, `validate`, `test` or `predict`.

    Args:
        args: The command and its options.

    Returns:
        The exit code.
    """
    parser_class = type("LightningParser", (OneLineParser, LightningArgumentParser), {})
    command = {args[0]: _SizedCLI.subcommands()[args[0]]}  # a parser for each command takes longer than all the rest
    one_command = type("_SizedCLI", (_SizedCLI,), {"subcommands": staticmethod(lambda: command)})
    with _without_advice():
        one_command(
            args=args,
            parser_class=parser_class,
            parser_kwargs={"prog": "lightning-clip"},
            save_config_kwargs={"overwrite": True},
            seed_everything_default=0,
        )
    return 0


@contextmanager
def _without_advice() -> Iterator[None]:
    """Leave out what is not about the run: advice on workers, old names that Lightning uses, its other products."""
    logger = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="LightningCLI's args parameter")
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
        warnings.filterwarnings("ignore", message=r"(?s)\s.*(deprecated|Deprecation)", category=DeprecationWarning)
        logger.addFilter(_is_about_the_run)
        try:
            yield
        finally:
            logger.removeFilter(_is_about_the_run)


def _is_about_the_run(record: logging.LogRecord) -> bool:
    return "Tip: For seamless" not in record.getMessage()
