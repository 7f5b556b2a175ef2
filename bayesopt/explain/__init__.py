"""What the models of a study can say of themselves: why a point, which parameter matters, and whether to believe it."""
