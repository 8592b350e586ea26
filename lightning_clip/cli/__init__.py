"""The command line: one file per command; nothing heavy is imported before the command needs it."""

from lightning_clip.cli.main import main

__all__ = ["main"]
