"""Which layer feeds which: the directed acyclic graph of a network, as one forward pass has shown it."""

from __future__ import annotations

from typing import NamedTuple

from mlpx.compositions import Parallel, Residual
from mlpx.explain.watching import INPUT, Pass, Recording
from mlpx.network import Network

LOSS = "loss"


class Station(NamedTuple):
    """The input, a layer, a place where branches meet, or the loss."""

    path: str
    label: str


class Flow:
    """Stations in an order in which sources come first, and the ways between them.

    Attributes
    ----------
    stations : tuple of Station
    ways : tuple of (path, path)
    """

    def __init__(self, net: Network, recording: Recording, loss_name: str) -> None:
        self._passes = recording.passes
        stations = [Station(INPUT, "x")]
        ways: list[tuple[str, str]] = []
        self._walk(net, "", INPUT, stations, ways)
        last = self._end(net, "", INPUT)
        stations.append(Station(LOSS, loss_name))
        ways.append((last, LOSS))
        self.stations = tuple(stations)
        self.ways = tuple(ways)

    def readers(self, path: str) -> list[str]:
        """The stations that a station's output goes to."""
        return [target for source, target in self.ways if source == path]

    def sources(self, path: str) -> list[str]:
        """The stations whose outputs come in."""
        return [source for source, target in self.ways if target == path]

    def _walk(self, net: Network, prefix: str, into: str, stations: list[Station], ways: list[tuple[str, str]]) -> None:
        """Enter the blocks of a network into the lists, then the place where its branches meet, if it has one."""
        for number, block in enumerate(net.children()):
            path = f"{prefix}{number}"
            source = self._came_from(self._passes[path])
            if isinstance(block, Network):
                self._walk(block, f"{path}.", source, stations, ways)
            else:
                stations.append(Station(path, _title(block)))
                ways.append((source, path))
        join = _join(net)
        if join:
            at = f"{prefix}{join}"
            stations.append(Station(at, join))
            ends = [self._end_of(f"{prefix}{number}") for number in range(len(net.children()))]
            ways += [(end, at) for end in (ends if isinstance(net, Parallel) else [ends[-1], into])]

    def _came_from(self, seen: Pass) -> str:
        return INPUT if seen.source == INPUT else self._end_of(seen.source)

    def _end_of(self, path: str) -> str:
        """The station that a block's output leaves from."""
        block = self._passes[path].layer
        return self._end(block, f"{path}.", path) if isinstance(block, Network) else path

    def _end(self, net: Network, prefix: str, otherwise: str) -> str:
        join = _join(net)
        if join:
            return f"{prefix}{join}"
        return self._end_of(f"{prefix}{len(net.children()) - 1}") if net.children() else otherwise


def _join(net: Network) -> str:
    """The sign of the place where a network's branches meet; empty where each block just feeds the next."""
    if isinstance(net, Residual):
        return "+"
    if isinstance(net, Parallel):
        return "+" if net.combine == "sum" else "concat"
    return ""


def _title(block: object) -> str:
    """A layer in a box: its name, its activation, its size."""
    name = type(block).__name__
    activation = getattr(block, "activation", None)
    if name == "Activation":
        return str(getattr(block, "name", name))
    width = getattr(block, "n_out", None)
    parts = [name, *([str(width)] if width else []), *([activation.name] if activation is not None else [])]
    return " ".join(parts)
