"""The record of a run: pending step, step record, buffer, history, totals and measurements."""
