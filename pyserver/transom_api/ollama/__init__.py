"""Ollama's dialect: chats, prompts, vectors, and what it says of models."""
