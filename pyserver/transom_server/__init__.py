"""The Flask companion: keeps bundles by digest and serves them."""
