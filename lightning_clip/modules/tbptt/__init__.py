"""Truncated backpropagation through time (TBPTT): two mixins, and the states and chunks that they work with."""
