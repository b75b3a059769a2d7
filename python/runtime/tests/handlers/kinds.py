"""One handler of each kind, and one of each result."""

import asyncio
import functools

RESULTS = {
    "none": None,
    "list": [1, 2],
    "empty": [],
    "tuple": (1,),
    "zero": 0,
    "false": False,
    "text": "",
    "dict": {},
    "null": [None],
    "nested": [[1, [2]], []],
    "big": list(range(20)),
}


def enrich(p):
    return {**p, "y": 2}


def give(p):
    return RESULTS[p]


def items(p):
    yield 1
    yield None


def breaks(p):
    yield 1
    raise ValueError("in the middle")


async def later(p):
    await asyncio.sleep(0)
    return {**p, "later": True}


async def many(p):
    for number in range(3):
        yield number


def coroutine(p):
    return later(p)


class Counter:
    built = 0

    def __init__(self, start: int = 10):
        type(self).built += 1
        self.count = start

    def process(self, p):
        self.count += 1
        return self.count

    def __call__(self, p):
        return "called"

    @staticmethod
    def static(p):
        return "static"

    @classmethod
    def times_built(cls, p):
        return cls.built


class Plain:
    @classmethod
    def name(cls, p):
        return cls.__name__


counter = Counter()
added = functools.partial(lambda extra, p: p + extra, 5)


class Unprintable(Exception):
    def __str__(self):
        raise SystemExit


RAISED = {
    "exit": SystemExit(3),
    "interrupt": KeyboardInterrupt(),
    "stop": StopIteration(),
    "value": ValueError("bad x"),
    "huge": ValueError("x" * 1_000_000),
    "unprintable": Unprintable(),
}


def fail(p):
    if p in RAISED:
        raise RAISED[p]
    return p
