"""Figures of one run, drawn with matplotlib, which is imported when one is drawn."""

from lightning_clip.reports.figures.run import plot_report

__all__ = ["plot_report"]
