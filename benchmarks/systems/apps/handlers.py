"""The measured handlers, for systems that take plain functions. Read by Asya's runtime and by the programs beside this file."""

import asyncio
import os
import time

_SECONDS = float(os.environ.get("BENCH_HANDLER_SECONDS", "0"))


def identity(payload: dict) -> dict:
    """Give back what came."""
    return payload


def sleep(payload: dict) -> dict:
    """Block for a while, as a call to a library does."""
    time.sleep(_SECONDS)
    return payload


async def async_sleep(payload: dict) -> dict:
    """Await for a while, as a call to a service does."""
    await asyncio.sleep(_SECONDS)
    return payload
