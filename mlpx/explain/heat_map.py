"""An array as a small picture: blue below zero, white at zero, red above; a PNG of one pixel a number, written here."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np

BELOW, ZERO, ABOVE = (33, 102, 172), (247, 247, 247), (178, 24, 43)
LARGEST = 1024  # pixels along an axis; of a longer one the cells are averaged


def heat_map_uri(values: np.ndarray) -> str:
    """A data URI of a PNG; a vector is one row, leading axes are one. Numbers that are not finite are black."""
    table = _reduced(_reduced(_as_table(values)).T).T
    return "data:image/png;base64," + base64.b64encode(png(colours(table))).decode()


def colours(table: np.ndarray) -> np.ndarray:
    """(rows, columns, 3) bytes; the largest magnitude has the full colour."""
    finite = np.isfinite(table)
    known = np.where(finite, table, 0.0).astype(np.float64)
    scale = float(np.max(np.abs(known), initial=0.0)) or 1.0
    strength = np.abs(known / scale)[..., None]
    full = np.where((known < 0)[..., None], np.asarray(BELOW, dtype=np.float64), np.asarray(ABOVE, dtype=np.float64))
    mixed = np.asarray(ZERO) * (1 - strength) + full * strength
    return np.where(finite[..., None], np.rint(mixed), 0).astype(np.uint8)


def png(pixels: np.ndarray) -> bytes:
    """A PNG file of (rows, columns, 3) bytes (ISO/IEC 15948: signature, header, one compressed chunk, end)."""
    rows, columns, _ = pixels.shape
    scanlines = np.concatenate([np.zeros((rows, 1), np.uint8), pixels.reshape(rows, -1)], axis=1)  # filter 0 before each line
    header = struct.pack(">IIBBBBB", columns, rows, 8, 2, 0, 0, 0)  # eight bits of red, green, blue
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(scanlines.tobytes(), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, body) for kind, body in chunks)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _as_table(values: np.ndarray) -> np.ndarray:
    return values.reshape(-1, values.shape[-1]) if values.ndim else values.reshape(1, 1)


def _reduced(table: np.ndarray) -> np.ndarray:
    """The rows, averaged in groups where there are too many to show."""
    if table.shape[0] <= LARGEST:
        return table
    starts = np.linspace(0, table.shape[0], LARGEST, endpoint=False).astype(int)
    sizes = np.diff([*starts, table.shape[0]])
    return np.add.reduceat(table, starts, axis=0) / sizes[:, None]
