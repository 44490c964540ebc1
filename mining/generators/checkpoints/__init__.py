"""Reads the checkpoint files that exist in the world, and executes nothing of theirs."""

from mining.generators.checkpoints.base import Checkpoint
from mining.generators.checkpoints.loading import read_checkpoint

__all__ = ["Checkpoint", "read_checkpoint"]
