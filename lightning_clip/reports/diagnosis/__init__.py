"""What is wrong with a run: one file per family of rules, all of one protocol; their order is that of `RULES`."""

from lightning_clip.reports.diagnosis.diagnose import RULES, diagnose
from lightning_clip.reports.diagnosis.rule import Finding, Rule, Severity

__all__ = ["RULES", "Finding", "Rule", "Severity", "diagnose"]
