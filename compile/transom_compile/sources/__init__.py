"""Readers of checkpoints, one file per format."""
