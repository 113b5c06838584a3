"""Checkpoints: what a run adds to them, written whole, read safely."""
