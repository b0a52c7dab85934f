"""A drawing of a directed acyclic graph in columns, from left to right: where each box stands and how each wire runs.

The four steps of Sugiyama, Tagawa & Toda (1981): columns by longest path; a wire that spans several columns gets a joint in
each; order within a column by the mean place of the neighbours, swept both ways; then places as near to them as that allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

SWEEPS = 12


class Arrangement(NamedTuple):
    """Places in units of columns and rows.

    Attributes
    ----------
    places : list of (column, row)
        Of every box.
    joints : list of list of (column, row)
        For every wire, the points it runs through between its ends.
    columns : int
    rows : float
        Extent of all.
    """

    places: list[tuple[int, float]]
    joints: list[list[tuple[int, float]]]
    columns: int
    rows: float


def arrange(count: int, wires: Sequence[tuple[int, int]]) -> Arrangement:
    """Places for boxes 0 … count − 1 and for wires (source, target), given in an order in which sources come first.

    Raises
    ------
    ValueError
        If a wire leads backwards.
    """
    columns = _columns(count, wires)
    chains = []
    links: list[tuple[int, int]] = []
    for source, target in wires:
        chain = [source]
        for column in range(columns[source] + 1, columns[target]):
            columns.append(column)
            chain.append(len(columns) - 1)
        chain.append(target)
        links += pairwise(chain)
        chains.append(chain[1:-1])
    rows = _rows(columns, links)
    return Arrangement(
        [(columns[i], rows[i]) for i in range(count)],
        [[(columns[joint], rows[joint]) for joint in chain] for chain in chains],
        max(columns, default=0) + 1,
        max(rows, default=0.0) + 1,
    )


def _columns(count: int, wires: Sequence[tuple[int, int]]) -> list[int]:
    """The longest way from the left; what nothing leads to stands just before its first reader."""
    column = [0] * count
    incoming = [False] * count
    for source, target in sorted(wires, key=lambda wire: wire[1]):
        if source >= target:
            raise ValueError(f"wire {source} → {target} leads backwards")
        incoming[target] = True
        column[target] = max(column[target], column[source] + 1)
    for box in range(count):
        readers = [column[target] for source, target in wires if source == box]
        if readers and not incoming[box]:
            column[box] = min(readers) - 1
    return column


def _rows(columns: list[int], links: list[tuple[int, int]]) -> list[float]:
    """A row for every box and joint: at least one apart within a column, near the mean of its neighbours."""
    layers: list[list[int]] = [[] for _ in range(max(columns, default=-1) + 1)]
    for box, column in enumerate(columns):
        layers[column].append(box)
    left: list[list[int]] = [[] for _ in columns]
    right: list[list[int]] = [[] for _ in columns]
    for source, target in links:
        right[source].append(target)
        left[target].append(source)
    row = [0.0] * len(columns)
    for layer in layers:
        for place, box in enumerate(layer):
            row[box] = float(place)
    for sweep in range(SWEEPS):
        forward = sweep % 2 == 0
        neighbours = left if forward else right
        for layer in layers if forward else reversed(layers):
            wanted = {box: _mean([row[other] for other in neighbours[box]], row[box]) for box in layer}
            layer.sort(key=lambda box: wanted[box])
            _spread(layer, wanted, row)
    lowest = min(row, default=0.0)
    return [value - lowest for value in row]


def _mean(values: list[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _spread(layer: list[int], wanted: dict[int, float], row: list[float]) -> None:
    """Put each box where it wants to be, in order and at least one apart; groups that collide share the shift."""
    groups: list[tuple[float, int]] = []  # sum of (wanted − offset) of the members, how many
    members: list[list[int]] = []
    for box in layer:
        groups.append((wanted[box], 1))
        members.append([box])
        while len(groups) > 1 and groups[-2][0] / groups[-2][1] + groups[-2][1] > groups[-1][0] / groups[-1][1]:
            total, size = groups.pop()
            moved = members.pop()
            before, length = groups[-1]
            groups[-1] = (before + total - size * length, length + size)
            members[-1] = members[-1] + moved
    for (total, size), boxes in zip(groups, members, strict=True):
        for offset, box in enumerate(boxes):
            row[box] = total / size + offset
