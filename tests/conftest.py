"""Settings of every test."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import torch

# Programs that tests start import the code beside these tests, also where another copy of it is installed.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")]))

# The tensors are small: more threads cost more than they save, most of all where others use the processors too.
torch.set_num_threads(1)

# No deadlines: how long an example takes depends on what else the machine does. The same examples on every run, so
# that a change is blamed for what it breaks and for nothing else.
hypothesis.settings.register_profile("steady", deadline=None, derandomize=True)
hypothesis.settings.load_profile("steady")
