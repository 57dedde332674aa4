"""A stored model: what it says of itself, and models made of others and a Modelfile."""
