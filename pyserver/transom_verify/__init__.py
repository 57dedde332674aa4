"""Compares the browser engine with llama.cpp on the same weights; knows no store, no compiler."""
