"""Slow, obvious references of every rule, in numpy float64, written from the papers; they import nothing of ours.

A reference is a callable, `reference(grads, weights) -> grads`, on dictionaries of arrays by parameter name. It is
called once per step, in order, and keeps its own state. `recurrence.py` and `recurrent.py` hold references of layers
instead.
"""
