"""One optimizer step, as this package's callbacks see and change it."""
