"""What a model is: names, digests, manifests, architectures. No I/O beyond its own files, no network."""
