"""Functions and tables that operators are made of: schedules, level tables, boundary bases, kernels, quantization."""
