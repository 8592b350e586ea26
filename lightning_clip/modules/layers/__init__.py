"""Recurrent layers and what they are built from; the LightningModules in the folder above use them."""
