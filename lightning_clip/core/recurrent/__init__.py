"""Recurrent networks: their layers, parameter names, gates, weight spectra and gradients through time."""
