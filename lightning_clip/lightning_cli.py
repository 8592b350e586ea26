"""`fit`, `validate`, `test` and `predict`: LightningCLI over our classes."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from jsonargparse import ArgumentParser
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

import lightning_clip.callbacks
import lightning_clip.datamodules
import lightning_clip.modules
import lightning_clip.sinks
import lightning_clip.strategies  # noqa: F401  (class names without a path are found once the classes exist)


class _SizedCLI(LightningCLI):
    """LightningCLI that takes the sizes of the model from the data."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Link the sizes."""
        for size in ("in_features", "out_features"):
            parser.link_arguments(f"data.{size}", f"model.init_args.{size}", apply_on="instantiate")

    def instantiate_classes(self) -> None:
        """Make what the configuration describes; what it cannot be made of is a mistake in the configuration."""
        try:
            super().instantiate_classes()
        except (TypeError, ValueError) as error:
            self.parser.error(str(error), error)


def run(args: list[str], errors: type[ArgumentParser]) -> int:
    """Run LightningCLI.

    Args:
        args: The command and its options.
        errors: A parser class that says how mistakes are reported.

    Returns:
        The exit code.
    """
    parser_class = type("LightningParser", (errors, LightningArgumentParser), {})
    command = {args[0]: _SizedCLI.subcommands()[args[0]]}  # a parser of each takes longer than all the rest
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
