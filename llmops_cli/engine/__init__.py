"""Call models concurrently, within rate limits and the budget."""
