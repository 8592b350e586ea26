"""The record of a run: pending steps, step records, the history with its totals, and measurements."""
