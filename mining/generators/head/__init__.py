"""A procedural head in numpy whose parameters have exactly known directions in latent space."""

from mining.generators.head.generator import HeadGenerator

__all__ = ["HeadGenerator"]
