"""Handlers behind the tools that the MCP conformance suite calls by fixed names."""

import asyncio
import base64
import struct
import zlib
from typing import Any


def _png() -> str:
    """One red pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(b"\x00\xff\x00\x00")
    head = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")).decode()


def _wav() -> str:
    """A hundredth of a second of silence."""
    data = b"\x80" * 80
    head = b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 8000, 1, 8)
    return base64.b64encode(head + b"data" + struct.pack("<I", len(data)) + data).decode()


def content(payload: dict[str, Any]) -> Any:
    """Content blocks, by ``kind``, wrapped so that the list is one payload and no fan-out."""
    text = {"type": "text", "text": "This is a simple text response for testing."}
    image = {"type": "image", "data": _png(), "mimeType": "image/png"}
    audio = {"type": "audio", "data": _wav(), "mimeType": "audio/wav"}
    resource = {"uri": "test://embedded-resource", "mimeType": "text/plain", "text": "This is an embedded resource content."}
    mixed = {"uri": "test://mixed-content-resource", "mimeType": "application/json", "text": '{"test":"data","value":123}'}
    blocks = {
        "text": [text],
        "image": [image],
        "audio": [audio],
        "resource": [{"type": "resource", "resource": resource}],
        "mixed": [
            {"type": "text", "text": "Multiple content types test:"},
            image,
            {"type": "resource", "resource": mixed},
        ],
    }
    return {"content": blocks[payload["kind"]]}


def fails(payload: dict[str, Any]) -> Any:
    """Always raises."""
    raise RuntimeError("This tool intentionally returns an error for testing")


def greet(payload: dict[str, Any]) -> Any:
    """Greets by name."""
    return f"Hello, {payload.get('name', 'world')}!"


async def slow(payload: dict[str, Any]) -> Any:
    """Takes its time, so that progress is seen; as many ``seconds`` as are asked for where the suite asks."""
    await asyncio.sleep(min(4.0, float(payload.get("seconds", 1))) if payload.get("wait") else 0.15)
    return payload


def echo(payload: dict[str, Any]) -> Any:
    """Gives what it got."""
    return payload
