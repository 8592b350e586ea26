"""Everything that knows what a recurrent network is: layers, names, gates, spectra, gradients through time."""
