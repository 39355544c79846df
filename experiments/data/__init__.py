"""Data: sources, archives, data sets and drawn pictures."""
