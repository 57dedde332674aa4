"""Hugging Face folders: safetensors, configs, tokenizers and model cards, made into a GGUF."""
