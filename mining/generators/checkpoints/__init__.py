"""Reads the checkpoint files that exist in the world, and executes nothing of theirs."""

from mining.generators.checkpoints.base import Checkpoint

__all__ = ["Checkpoint"]
