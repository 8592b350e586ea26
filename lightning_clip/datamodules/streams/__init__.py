"""Long sequences that are read as parallel streams, chunk by chunk, for truncated backpropagation through time."""
