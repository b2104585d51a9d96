"""What answers without a network: a small model of our own, and answers that were recorded."""
