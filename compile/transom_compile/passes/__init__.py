"""IR rewrites, one file per pass."""
