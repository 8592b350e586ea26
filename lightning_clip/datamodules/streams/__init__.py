"""Parallel streams that are read chunk by chunk, for truncated backpropagation through time."""
