"""What a user declares: the space, the outcomes, beliefs and the budget."""
