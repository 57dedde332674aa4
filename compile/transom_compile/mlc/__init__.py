"""MLC's world: models that MLC-LLM compiled, and MLC-LLM's compiler where it is installed."""
