"""Linear algebra that the models share."""
