"""Snapshots and the folder that holds them: written, found again, resumed from."""
