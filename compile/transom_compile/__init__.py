"""The walk from a checkpoint to a bundle."""
