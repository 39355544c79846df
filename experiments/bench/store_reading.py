"""Whether training waits for a set that is larger than memory: start, resident memory, and the share of time in data.

    python experiments/bench/store_reading.py --out experiments/results/store-cpu.json

The store is a file without content on the disk (sparse), 236 GB long for 1.2 million images of 256 pixels, so that all
costs are in it but those of the disk: opening, order, reads in threads, cropping, mirroring, conversion. A network is
trained on it by `restore.Trainer`, of a size for about 50 images a second on two cores. The share of time in data is
what the loop spends for a batch between asking for it and having it in [-1, 1]; the share blocked is what it waits for
reads in that.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from degrade.command_line import Options, explicit_values, run_main, validated
from experiments.run.folder import write_json
from samplers.commands.options import Count

if TYPE_CHECKING:
    from experiments.data.store import Store

PROGRAM = "store_reading"


class Config(Options):
    """Measurement."""

    images: Count = Field(1_200_000, description="images of the store")
    size: Count = Field(256, description="side of the images in pixels")
    crop: Count = Field(224, description="side in pixels of the windows that are trained on")
    channels: Count = Field(32, description="channels of the network: fewer train more images a second")
    batch_size: Count = Field(16, description="images per step")
    seconds: float = Field(60, gt=0, description="length of the training")
    threads: Count = Field(2, description="threads of the network")
    out: str = Field("store-cpu.json", description="file of the results")


def write_sparse_store(folder: Path, images: int, size: int) -> None:
    """Write a store that is complete, of named black images in 1,000 classes, which take no place on the disk."""
    from experiments.data.store import BLOCKS, StoreIndex, write_index

    names = tuple(f"{i % 1000:03d}/{i:07d}.jpg" for i in range(images))
    index = StoreIndex(shape=(images, size, size, 3), names=names)
    write_index(folder, index)
    (folder / BLOCKS).write_text("".join(json.dumps({"block": b, "crc": 0}) + "\n" for b in range(index.blocks)))


def train_from(store: Store, config: Config) -> dict[str, Any]:
    """Return the images a second of a training from a store, and the shares of its time in data and blocked."""
    import torch

    from degrade import make
    from experiments.data.store import StoredImages
    from restore import Restorer, TrainConfig, Trainer, UNet, UNetConfig
    from restore.optimizers import Adam
    from restore.precision import choose_precision

    class TimedImages(StoredImages):
        """Stored images that note how long the loop is in them."""

        in_data = blocked = 0.0

        def at(self, index: torch.Tensor, generator: Any = None) -> torch.Tensor:
            began = time.perf_counter()
            windows = super().at(index, generator)
            self.in_data += time.perf_counter() - began
            return windows

        def fetch(self, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            began = time.perf_counter()
            images = super().fetch(index)
            self.blocked += time.perf_counter() - began
            return images

    torch.set_num_threads(config.threads)
    net = UNet(
        UNetConfig(
            image_size=config.crop, model_channels=config.channels, channel_mult=(1, 2), num_res_blocks=1,
            attention_resolutions=(), norm_groups=8, patch_size=8 if config.crop % 16 == 0 else 1,
        )
    )  # fmt: skip
    data = TimedImages(store, config.crop, True, torch.device("cpu"))
    training = TrainConfig(
        batch_size=config.batch_size,
        micro_batch_size=None,
        optimizer=Adam(lr=1e-4),
        precision=choose_precision("auto", "cpu"),
    )
    trainer = Trainer(Restorer(net, make("gaussian_noise", T=100)), training)
    began = done = 0.0
    for stats in trainer.run(data):
        now = time.perf_counter()
        if stats.step == 1:  # everything is warm from here on
            began, data.in_data, data.blocked = now, 0.0, 0.0
        elif now - began > config.seconds:
            done = (stats.step - 1) * config.batch_size
            break
    return {
        "precision": training.precision,
        "images_per_s": done / (now - began),
        "share_in_data": data.in_data / (now - began),
        "share_blocked": data.blocked / (now - began),
    }


def main(argv: Sequence[str]) -> None:
    """Measure, print and write the file."""
    config = validated(Config, explicit_values(Config, argv, f"{PROGRAM}.py", __doc__ or ""))
    from experiments.data.store import Store
    from experiments.run.environment import describe_environment

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "sparse.store"
        write_sparse_store(folder, config.images, config.size)
        began = time.perf_counter()
        store = Store(folder)
        measured: dict[str, Any] = {"open_s": time.perf_counter() - began, **train_from(store, config)}
        measured["file_gb"] = (folder / "images.bin").stat().st_size / 1e9
    measured["peak_resident_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    described = {"configuration": config.model_dump(mode="json"), "environment": describe_environment("cpu")}
    write_json(Path(config.out), {**described, "measured": measured})
    print(
        "\n".join(f"{key:<17} {value if isinstance(value, str) else f'{value:.4g}'}" for key, value in measured.items())
    )
    print(config.out)


if __name__ == "__main__":
    sys.exit(run_main(main, PROGRAM))
