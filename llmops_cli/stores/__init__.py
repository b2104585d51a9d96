"""Files that llmops writes and reads: results, run files, versions, evidence, events, and git."""
