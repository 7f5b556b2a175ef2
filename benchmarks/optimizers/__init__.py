"""The optimizers that are compared, one file each."""
