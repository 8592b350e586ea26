"""Truncated backpropagation through time: mixins, carried state, chunks."""
