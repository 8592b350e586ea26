"""Slow, obvious references of every rule, in numpy float64, written from the papers; they import nothing of ours.

A reference is a callable: `reference(grads, weights) -> grads`, dictionaries of arrays by parameter name. It is called
once a step, in order, and keeps its own state. `recurrent.py` is about
layers instead.
"""
