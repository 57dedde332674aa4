"""The socket side: waitress with threads on demand, bodies, files, refusals. Knows no models."""
