"""Configurations of runs and studies; installed as `lightning_clip.configs`."""
