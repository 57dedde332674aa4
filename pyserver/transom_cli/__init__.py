"""The command `transom`: one file per verb."""
