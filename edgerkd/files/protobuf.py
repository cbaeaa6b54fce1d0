"""The fields of a protobuf message, without a library: https://protobuf.dev/programming-guides/encoding/"""

_VARINT, _LEN = 0, 2  # wire types, and the sizes of those that are fixed
_FIXED = {1: 8, 5: 4}

Message = dict[int, list[memoryview | int]]
"""By number, each field's values in the order they stand."""


def message(data: memoryview) -> Message:
    """The fields of a message by their numbers. Raises IndexError where it is cut short, ValueError for no protobuf."""
    found: Message = {}
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        kind = key & 7
        value: memoryview | int
        if kind == _VARINT:
            value, at = varint(data, at)
        else:
            size, at = varint(data, at) if kind == _LEN else (_FIXED.get(kind), at)
            if size is None:
                raise ValueError(kind)
            value, at = data[at : at + size], at + size
        found.setdefault(key >> 3, []).append(value)
    if at != len(data):
        raise IndexError
    return found


def strings(message: Message, number: int) -> list[memoryview]:
    """The values of a field that are strings or messages."""
    return [value for value in message.get(number, []) if isinstance(value, memoryview)]


def numbers(message: Message, number: int) -> list[int]:
    """The values of a field of integers, each in a field of its own or all packed into one. Raises as `message`."""
    found: list[int] = []
    for part in message.get(number, []):
        at = 0
        while isinstance(part, memoryview) and at < len(part):
            value, at = varint(part, at)
            found.append(value)
        if isinstance(part, int):
            found.append(part)
    return found


def varint(data: memoryview, at: int) -> tuple[int, int]:
    """The number at `at` and the place after it, https://protobuf.dev/programming-guides/encoding/#varints"""
    value = shift = 0
    while data[at] & 0x80:
        if shift > 63:
            raise ValueError("a number of more than 64 bits")
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
    return value | data[at] << shift, at + 1
