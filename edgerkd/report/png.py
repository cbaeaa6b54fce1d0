"""Pixels as a PNG file within a page's own text. Source: PNG specification, third edition (W3C), sections 5, 11."""

import base64
import struct
import zlib

import numpy as np
from numpy.typing import NDArray


def data_url(pixels: NDArray[np.uint8]) -> str:
    """An image uint8 (c, h, w) as an address that holds it whole: of four channels three, of two the first."""
    return f"data:image/png;base64,{base64.b64encode(png_bytes(pixels)).decode()}"


def png_bytes(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG file, grey or RGB with eight bits a channel, each line unfiltered."""
    shown = pixels[:3] if len(pixels) >= 3 else pixels[:1]
    channels, height, width = shown.shape
    lines = np.reshape(shown.transpose(1, 2, 0), (height, width * channels))
    data = np.concatenate([np.zeros((height, 1), np.uint8), lines], 1).tobytes()
    header = struct.pack(">IIBBBBB", width, height, 8, 2 if channels == 3 else 0, 0, 0, 0)
    chunks = _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(data, 9)) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
