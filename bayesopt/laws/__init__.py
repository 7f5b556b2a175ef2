"""What a field knows, as formulas that can be fitted to runs and predict others."""
