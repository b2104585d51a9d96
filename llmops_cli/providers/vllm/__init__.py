"""vLLM: the engine that is started for a command, and the model behind it."""
