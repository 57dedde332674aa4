"""Bytes between this store and other hosts: pull, push, and files from plain addresses."""
