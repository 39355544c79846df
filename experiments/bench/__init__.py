"""What the parts of this library cost, measured beside the plain way to do the same."""
