"""One run of a program: options, presets, run folder, training loop and log."""
