"""Edits: from a wanted change to a latent."""
