"""What is read of an ONNX file without an ONNX library."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgerkd.core.errors import ArtefactError
from edgerkd.files.onnx_frame import count_weights, unsigned_quantisers


def varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def tensor(name: str, kind: int, *dims: int, packed: bool = False) -> bytes:
    sizes = field(1, b"".join(map(varint, dims))) if packed else b"".join(b"\x08" + varint(d) for d in dims)
    return sizes + b"\x10" + varint(kind) + field(8, name.encode())


def graph(*initializers: bytes, nodes: tuple[bytes, ...] = ()) -> bytes:
    parts = [field(1, node) for node in nodes] + [field(5, each) for each in initializers]
    return b"\x08\x08" + field(7, b"".join(parts)) + field(8, b"\x10\x11")


FLOAT, UINT8, INT8 = 1, 2, 3


@pytest.mark.parametrize("packed", [False, True])
def test_weights_are_counted_by_their_sizes(packed):
    """Catches sizes packed into one field, numbers that are no floats, and single ones."""
    found = graph(
        tensor("w", FLOAT, 300, 3, 3, 3, packed=packed),
        tensor("half", 10, 7, packed=packed),
        tensor("index", 7, 500, packed=packed),
        tensor("one", FLOAT, 1, packed=packed),
        tensor("scalar", FLOAT),
        nodes=(field(4, b"Constant") + field(2, b"c") + field(5, field(5, tensor("", FLOAT, 11, packed=packed))),),
    )
    assert count_weights(found) == 300 * 27 + 7 + 11


def test_quantisers_are_told_by_the_type_of_their_zero_point():
    """Catches every quantiser refused, and an unsigned one that another node names."""

    def quantiser(name: str, zero: str) -> bytes:
        given = b"".join(field(1, part.encode()) for part in ("x", "scale", zero))
        return given + field(2, name.encode()) + field(4, b"QuantizeLinear")

    found = graph(
        tensor("z8", INT8), tensor("zu", UINT8), nodes=(quantiser("signed", "z8"), quantiser("unsigned", "zu"))
    )
    assert unsigned_quantisers(found) == ["unsigned"]


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content):
    """Catches an error of another kind, and a loop that does not end."""
    for whole in (content, graph(content), graph(nodes=(content,))):
        with suppress(ArtefactError):
            assert count_weights(whole) >= 0
        assert isinstance(unsigned_quantisers(whole), list)


def test_a_number_without_an_end_is_refused():
    """Catches a number of millions of bits, whose reading takes time that grows with the square of the file."""
    with pytest.raises(ArtefactError, match="more than 64 bits"):
        count_weights(graph(b"\x80" * 1000))
