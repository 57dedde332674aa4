"""What a model is: names, digests, manifests, architectures. No network."""
