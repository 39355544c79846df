"""Restoration networks and their registry."""
