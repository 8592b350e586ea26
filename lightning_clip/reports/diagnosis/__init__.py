"""What is wrong with a run: one file per family of rules, all of one protocol; their order is that of `RULES`."""

from lightning_clip.reports.diagnosis.rule import Finding, Rule, Severity
from lightning_clip.reports.diagnosis.rules import RULES, diagnose

__all__ = ["RULES", "Finding", "Rule", "Severity", "diagnose"]
