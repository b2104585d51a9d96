"""What an answer is worth: one module per way of scoring it, loaded by name from the registry."""
