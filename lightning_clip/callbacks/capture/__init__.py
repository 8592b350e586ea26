"""Bad steps written to files, and known bad batches left out."""
