"""Settings of every test."""

from __future__ import annotations

import torch

# The tensors are small: more threads cost more than they save, most of all where others use the processors too.
torch.set_num_threads(1)
