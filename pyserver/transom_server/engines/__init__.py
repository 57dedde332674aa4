"""What runs a model natively: engines, and which models are loaded."""
