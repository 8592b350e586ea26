"""Recurrent layers and their parts, used by the LightningModules of `lightning_clip.modules`."""
