"""The server as an OCI distribution registry: uploads, pushed manifests, referrers."""
