"""Acquisition functions: how much a trial is worth, one file each, and `maximize` to find the one worth most."""
