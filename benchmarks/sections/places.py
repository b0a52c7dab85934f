"""Which memory and processor a device of ours stands for."""

from __future__ import annotations

from mlpx.registry import Device


def is_gpu(place: Device) -> bool:
    """Whether it is an NVIDIA GPU, through whichever library."""
    return place.backend.name == "cupy" or place.name.startswith("cuda")


def memory_of(place: Device) -> str:
    """The host's, a GPU's, or one that no other library reads: arrays in one memory can be handed over without a copy."""
    if place.backend.name == "strict":
        return str(place)
    return f"gpu {place.name.rpartition(':')[2]}" if is_gpu(place) else "host"
