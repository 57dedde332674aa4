"""Settings: one table, read from flags, the environment and a TOML file."""
