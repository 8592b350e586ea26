"""Callbacks that measure more than gradients: recurrent layers through time, their weights, updates."""
