"""Tests mirror the rooms; a package only so that no installed `tests` can stand in its place."""
