"""A whole mesh in one thread: real deciders, and models of broker, runtime, gateway and clock. One seed, one history.

Every random choice comes from the seed's generator, so a seed replays exactly (`python tests/faults/simulation/world.py SEED`). Time is
virtual: a heap of actions. Faults strike until `CALM` seconds; then everything must come to rest by itself, and `check` compares what is
stored with what the plan of each envelope says.
"""

import heapq
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache
from random import Random
from typing import Any

import msgspec

from asya_core.transports.base import PublishOutcome, Receipt, SettledOutcome
from asya_core.wire.envelope import child_id, parse, unreadable_id
from asya_core.wire.errors import RemoteFault
from asya_core.wire.reply import EnvelopesReply, ErrorReply, PayloadsReply, Reply
from asya_sidecar import effects as fx
from asya_sidecar.decide import Decider, Moment, Policy
from asya_sidecar.retry import RetryPolicy

CALM = 40.0
MAX_STEPS = 60_000
BROKER_LIMIT_BYTES = 4096
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
ACTORS = ("a", "b", "c", "happy-end", "error-end")
decode, encode = msgspec.json.decode, msgspec.json.encode
MakeDecider = Callable[[Policy, Random], Decider]


class Violation(Exception):
    """A promise is broken."""


@dataclass
class Message:
    body: bytes
    attempt: int = 1
    origin: str | None = None


@dataclass
class Faults:
    """Probabilities, drawn per seed; many are zero in many seeds."""

    crash: float = 0.0
    lost: float = 0.0
    refused: float = 0.0
    cut: float = 0.0
    runtime_crash: float = 0.0
    hang: float = 0.0
    unstored: float = 0.0
    gateway_away: float = 0.0
    drain: float = 0.0
    duplicate: float = 0.0
    alarm: float = 0.0
    cancel: float = 0.0

    @classmethod
    def draw(cls, random: Random) -> "Faults":
        if random.random() < 0.15:
            return cls()
        names = list(cls.__dataclass_fields__)
        return cls(**{name: random.choice((0.02, 0.05, 0.15)) for name in names if random.random() < 0.4})

    @cached_property
    def are_absent(self) -> bool:
        return not any(getattr(self, name) for name in self.__dataclass_fields__)


class Broker:
    def __init__(self, world: "World") -> None:
        self.world = world
        self.queues: dict[str, list[Message]] = {f"asya-n-{actor}": [] for actor in ACTORS}
        self.dead: list[Message] = []
        self.unsettled: dict[str, tuple[str, Message, Process]] = {}
        self.receipts = 0
        self.limit = world.random.choice((200, 200, 5))
        self.deliveries: Counter[tuple[str, str]] = Counter()

    def store(self, queue: str, message: Message) -> None:
        self.queues[queue].append(message)
        self.world.later(0.0, lambda: self.pump(queue))

    def put_back(self, receipt: str, *, counts: bool) -> None:
        entry = self.unsettled.pop(receipt, None)
        if entry is not None:
            queue, message, _ = entry
            self.store(queue, Message(message.body, message.attempt + counts, message.origin))

    def pump(self, queue: str) -> None:
        random = self.world.random
        while self.queues[queue]:
            takers = [p for p in self.world.processes.get(queue, ()) if p.is_consuming and p.held < p.prefetch]
            if not takers:
                return
            ready = self.queues[queue]
            message = ready.pop(random.randrange(len(ready)))
            if message.attempt > self.limit:
                if queue == "asya-n-error-end":
                    self.dead.append(message)
                else:
                    self.store("asya-n-error-end", Message(message.body, 1, queue))
                continue
            process = random.choice(takers)
            self.receipts += 1
            receipt = f"r{self.receipts}"
            self.unsettled[receipt] = (queue, message, process)
            process.held += 1
            self.deliveries[queue, identity(message.body)] += 1
            self.world.later(random.random() * 0.01, lambda p=process, r=receipt, m=message: p.deliver(r, m))


@lru_cache(1024)
def identity(body: bytes) -> str:
    try:
        return parse(body).id
    except RemoteFault:
        return unreadable_id(body)


class Process:
    """One sidecar process with its runtime; a crash replaces it by a new one with nothing in memory."""

    def __init__(self, world: "World", actor: str) -> None:
        world.started += 1
        self.world, self.actor, self.queue, self.name = world, actor, f"asya-n-{actor}", f"{actor}#{world.started}"
        random = world.random
        self.is_end = actor.endswith("-end")
        self.policy = Policy(
            actor=actor,
            namespace="n",
            timeout_seconds=5.0,
            retry=RetryPolicy(max_attempts=world.max_attempts, initial_seconds=0.5, max_seconds=4.0),
            max_deliveries=world.max_deliveries,
            publish_window=world.window,
            max_message_bytes=world.max_message_bytes,
            unroutable_tries=world.unroutable_tries,
            reports_progress=random.random() < 0.3,
        )
        self.decider = world.make_decider(self.policy, Random(random.random()))
        self.concurrency = 1 if self.is_end else world.concurrency
        self.most_ahead = self.concurrency if world.started % 2 else 0
        if self.most_ahead:
            for _ in range(8):  # known to be quick, as if it had run for a while
                self.decider._meter.observe(0.01, 100)
        self.is_alive, self.is_up, self.publish_up, self.has_runtime = True, False, False, False
        self.prefetch = self.held = self.epoch = self.runtime_epoch = 0
        self.calls: dict[int, bytes] = {}
        self.ahead: dict[int, bytes] = {}
        self.publishes: dict[int, tuple[str, bytes]] = {}
        self.timers: dict[tuple[fx.TimerKind, int], int] = {}
        self.timer_count = 0
        self.receipts: dict[str, bytes] = {}
        self.confirmed: Counter[tuple[str, str]] = Counter()
        self.expected: dict[bytes, list[tuple[str, str]]] = {}
        self.recorded: Counter[str] = Counter()
        self.reports: dict[int, str] = {}
        world.later(random.random() * 0.1, lambda: self.link(consume=True, up=True))
        world.later(random.random() * 0.1, lambda: self.link(consume=False, up=True))
        world.later(random.random(), self.hello)

    # --- what happens to it

    @property
    def is_consuming(self) -> bool:
        return self.is_alive and self.is_up and self.prefetch > 0

    def take(self, event: fx.Event) -> None:
        if not self.is_alive:
            return
        world = self.world
        may_crash = world.faults.crash
        if world.keep_trace:
            world.note(self, event)
        moment = Moment(world.now, EPOCH + timedelta(seconds=world.now))
        for effect in self.decider.handle(event, moment):
            if may_crash and world.strikes("crash"):
                self.crash()
                return
            if world.keep_trace:
                world.note(self, effect, is_effect=True)
            self.perform(effect)
            if not self.is_alive:
                return

    def deliver(self, receipt: str, message: Message) -> None:
        if receipt in self.world.broker.unsettled:
            self.receipts[receipt] = message.body
            self.take(fx.MessageArrived(Receipt(receipt), message.body, message.attempt, message.origin))

    def link(self, *, consume: bool, up: bool) -> None:
        if not self.is_alive:
            return
        if consume:
            if up == self.is_up:
                return
            self.is_up = up
            if not up:
                self.give_back_all()
                self.world.later(self.world.random.random() * 3, lambda: self.link(consume=True, up=True))
            self.take(fx.ConsumeLinkChanged(up))
            self.world.broker.pump(self.queue)
        else:
            if up == self.publish_up:
                return
            self.publish_up = up
            if not up:
                for token in list(self.publishes):
                    self.published(token, PublishOutcome.LOST)
                self.world.later(self.world.random.random() * 3, lambda: self.link(consume=False, up=True))
            self.take(fx.PublishLinkChanged(up))

    def give_back_all(self) -> None:
        broker = self.world.broker
        for receipt in [r for r, (_, _, process) in broker.unsettled.items() if process is self]:
            broker.put_back(receipt, counts=True)
        self.receipts.clear()
        self.held = 0

    def crash(self) -> None:
        self.world.trace.append(f"{self.world.now:8.3f} {self.actor} dies")
        self.is_alive = False
        self.give_back_all()
        self.world.replace(self)

    def hello(self) -> None:
        if self.is_alive and not self.has_runtime:
            self.has_runtime = True
            self.runtime_epoch += 1
            self.take(fx.RuntimeReady(self.concurrency, self.most_ahead))

    def runtime_gone(self, *, told: bool, code: str = "runtime_crashed") -> None:
        if not self.has_runtime:
            return
        self.has_runtime = False
        self.runtime_epoch += 1
        self.calls.clear()
        self.ahead.clear()
        away = self.world.random.choice((0.2, 1.0, 45.0)) if self.world.is_stormy else 0.2
        self.world.later(away, self.hello)
        if told:
            self.take(fx.RuntimeLost(code, "Runtime is gone"))

    # --- what it does

    def perform(self, effect: fx.Effect) -> None:
        world, random, broker = self.world, self.world.random, self.world.broker
        match effect:
            case fx.Call(call, _, body):
                self.call(call, body)
            case fx.CloseRuntime():
                world.timeouts += 1
                self.runtime_gone(told=False)
            case fx.Publish(token, queue, body):
                self.publishes[token] = (queue, body)
                slow = 12.0 if world.strikes("alarm") else 0.02
                world.later(random.random() * slow, lambda: self.publish_arrives(token))
            case fx.Retry(receipt, delay):
                world.later(random.random() * 0.02, lambda: self.retry(receipt, delay))
            case fx.Reject(receipt):
                world.later(random.random() * 0.02, lambda: self.reject(receipt))
            case fx.Ack(receipt):
                self.check_ack(receipt)
                epoch = self.receipts.get(receipt)
                if epoch is not None:
                    world.later(random.random() * 0.01, lambda: self.ack(receipt))
            case fx.Requeue(receipt):
                broker.put_back(receipt, counts=random.random() < 0.3)
                self.drop(receipt)
            case fx.ReportFinal(number, _, body):
                self.reports[number] = identity(body)
                answers = fx.FinalAnswer
                answer = answers.UNAVAILABLE if world.strikes("gateway_away") else answers.RECORDED
                if answer is answers.RECORDED and random.random() < 0.05:
                    answer = answers.REFUSED
                world.later(random.random() * 0.02, lambda: self.reported(number, answer))
            case fx.Timer(kind, number, delay):
                self.timer_count += 1
                stamp = self.timers[kind, number] = self.timer_count
                if delay is not None:
                    world.later(delay, lambda: self.timer_fires(kind, number, stamp))
            case fx.SetPrefetch(prefetch):
                self.prefetch = prefetch
                world.later(0.0, lambda: broker.pump(self.queue))
            case fx.Unsubscribe():
                self.prefetch = 0
            case fx.Leave():
                self.is_alive = False
                self.give_back_all()
                world.replace(self)
            case fx.LogDelivery() | fx.Report() | fx.DrainEnded():
                pass

    def timer_fires(self, kind: fx.TimerKind, number: int, stamp: int) -> None:
        if self.timers.get((kind, number)) == stamp:
            del self.timers[kind, number]
            self.take(fx.TimerFired(kind, number))

    def drop(self, receipt: str) -> None:
        if self.receipts.pop(receipt, None) is not None:
            self.held -= 1
            self.world.later(0.0, lambda: self.world.broker.pump(self.queue))

    def ack(self, receipt: str) -> None:
        if receipt in self.receipts:
            self.world.broker.unsettled.pop(receipt, None)
            self.drop(receipt)

    def retry(self, receipt: Receipt, delay: float) -> None:
        world, broker = self.world, self.world.broker
        entry = broker.unsettled.get(receipt) if receipt in self.receipts else None
        if entry is None or (world.strikes("lost") and self.is_alive):
            if entry is not None and world.random.random() < 0.5:
                queue, message, _ = entry
                world.later(delay, lambda: broker.store(queue, Message(message.body, message.attempt + 1, message.origin)))
            self.take(fx.RetryEnded(receipt, SettledOutcome.LOST))
            return
        queue, message, _ = broker.unsettled.pop(receipt)
        world.later(delay, lambda: broker.store(queue, Message(message.body, message.attempt + 1, message.origin)))
        self.drop(receipt)
        self.take(fx.RetryEnded(receipt, SettledOutcome.OK))

    def reject(self, receipt: Receipt) -> None:
        if receipt not in self.receipts or self.world.strikes("lost"):
            self.take(fx.RetryEnded(receipt, SettledOutcome.LOST))
            return
        self.world.broker.dead.append(self.world.broker.unsettled.pop(receipt)[1])
        self.drop(receipt)
        self.take(fx.RetryEnded(receipt, SettledOutcome.OK))

    def reported(self, number: int, answer: fx.FinalAnswer) -> None:
        if answer is not fx.FinalAnswer.UNAVAILABLE:
            self.recorded[self.reports[number]] += 1
        self.take(fx.FinalReported(number, answer))

    def publish_arrives(self, token: int) -> None:
        """The message reaches the broker, also if its sender has died meanwhile."""
        entry = self.publishes.get(token)
        if entry is None:
            return
        queue, body = entry
        world, broker = self.world, self.world.broker
        if not self.is_alive and world.random.random() < 0.5:
            return
        if queue not in broker.queues:
            self.published(token, PublishOutcome.RETURNED)
        elif len(body) > BROKER_LIMIT_BYTES:
            self.published(token, PublishOutcome.TOO_LARGE)
        elif world.strikes("refused"):
            self.published(token, PublishOutcome.REFUSED)
        else:
            is_lost = world.strikes("lost")
            if not is_lost or world.random.random() < 0.5:
                broker.store(queue, Message(body))
                if world.strikes("duplicate"):
                    broker.store(queue, Message(body))
            outcome = PublishOutcome.LOST if is_lost else PublishOutcome.CONFIRMED
            world.later(world.random.random() * 0.02, lambda: self.published(token, outcome))

    def published(self, token: int, outcome: PublishOutcome) -> None:
        entry = self.publishes.pop(token, None)
        if entry is not None and self.is_alive:
            if outcome is PublishOutcome.CONFIRMED:
                self.confirmed[entry[0], identity(entry[1])] += 1
            self.take(fx.PublishEnded(token, outcome))

    def call(self, call: int, body: bytes) -> None:
        if not self.has_runtime:
            raise Violation("a call without a runtime")
        if len(self.calls) < self.concurrency:
            self.begin(call, body)
            return
        self.ahead[call] = body
        if len(self.ahead) > self.most_ahead:
            raise Violation("more calls than slots and ahead of them")

    def begin(self, call: int, body: bytes) -> None:
        world = self.world
        world.runs[self.queue, identity(body)] += 1
        self.calls[call] = body
        epoch = self.runtime_epoch
        plan = world.plan_at(body, self.actor)
        if world.strikes("hang") or plan == "hang":
            return
        takes = world.random.choice((0.001, 0.01, 0.3))
        if world.strikes("runtime_crash") or plan == "crash":
            code = world.random.choice(("runtime_crashed", "bad_reply"))
            world.later(takes, lambda: self.runtime_epoch == epoch and self.runtime_gone(told=True, code=code))
            return
        world.later(takes, lambda: self.answer(call, epoch))

    def answer(self, call: int, epoch: int) -> None:
        if self.runtime_epoch != epoch or not self.is_alive:
            return
        body = self.calls.pop(call)
        reply, outputs = self.world.handler(body, self.actor)
        self.expected[body] = outputs
        if self.ahead:
            first = next(iter(self.ahead))
            self.begin(first, self.ahead.pop(first))
        self.take(fx.CallsEnded((call,)))
        self.take(fx.Replied(call, reply))

    def check_ack(self, receipt: str) -> None:
        """Nothing is acknowledged before all its outputs are confirmed to this very process."""
        body = self.receipts.get(receipt)
        if body is None:
            return
        key = identity(body)
        if self.is_end and self.recorded[key]:
            return
        if self.confirmed["asya-n-error-end", key]:
            return
        wanted = self.expected.get(body)
        if wanted is None or not wanted:
            raise Violation(f"{self.actor} acknowledged {key} without a record of it")
        for queue, output in wanted:
            if not self.confirmed[queue, output] and not self.confirmed["asya-n-error-end", output]:
                raise Violation(f"{self.actor} acknowledged {key} before output {output} to {queue} was confirmed")


@dataclass
class Node:
    """What the plan says becomes of one envelope: it ends as a result or an error, or its children do."""

    id: str
    is_error: bool = False
    children: list["Node"] = field(default_factory=list)


class World:
    def __init__(self, seed: int, make_decider: MakeDecider = Decider, *, keep_trace: bool = False) -> None:
        self.seed, self.make_decider, self.keep_trace = seed, make_decider, keep_trace
        self.random = random = Random(seed)
        self.now, self.steps, self.order = 0.0, 0, 0
        self.heap: list[tuple[float, int, Callable[[], Any]]] = []
        self.trace: list[str] = []
        self.faults = Faults.draw(random)
        self.strikes_left = random.randrange(5, 40)
        self.max_attempts = random.choice((1, 2, 4))
        self.max_deliveries = random.choice((20, 1))
        self.window = random.choice((200, 1, 2))
        self.unroutable_tries = random.choice((0, 2, 7))
        self.concurrency = random.choice((1, 1, 2, 3))
        self.max_message_bytes = random.choice((BROKER_LIMIT_BYTES, 1 << 24))
        self.has_crasher = False
        self.is_envelope_mode = random.random() < 0.4
        self.timeouts = self.started = 0
        self.runs: Counter[tuple[str, str]] = Counter()
        self.results: dict[str, bytes] = {}
        self.errors: dict[str, bytes] = {}
        self.failures: Counter[tuple[str, str]] = Counter()
        self.roots: list[Node] = []
        self.processes: dict[str, list[Process]] = {}
        self.broker = Broker(self)
        for actor in ACTORS:
            count = random.choice((1, 1, 2)) if actor == "a" else 1
            self.processes[f"asya-n-{actor}"] = [Process(self, actor) for _ in range(count)]
        for number in range(random.randrange(2, 6)):
            self.accept(number)
        for _ in range(random.randrange(0, 5)):
            self.later(random.random() * 20, self.strike)

    # --- engine

    def later(self, delay: float, action: Callable[[], Any]) -> None:
        self.order += 1
        heapq.heappush(self.heap, (self.now + max(0.0, delay), self.order, action))

    @property
    def is_stormy(self) -> bool:
        return self.now < CALM and self.strikes_left > 0 and not self.faults.are_absent

    def strikes(self, fault: str) -> bool:
        probability: float = getattr(self.faults, fault)
        if probability and self.is_stormy and self.random.random() < probability:
            self.strikes_left -= 1
            return True
        return False

    def note(self, process: Process, what: object, *, is_effect: bool = False) -> None:
        self.trace.append(f"{self.now:8.3f} {process.name} {'  -> ' if is_effect else ''}{what}"[:300])

    def run(self) -> None:
        """To rest, then check. Raises Violation, or whatever a decider raises."""
        heap = self.heap
        while heap:
            self.steps += 1
            if self.steps > MAX_STEPS:
                raise Violation(f"no rest after {MAX_STEPS} steps, {self.now:.0f} s")
            self.now, _, action = heapq.heappop(heap)
            action()
        self.check()

    def strike(self) -> None:
        """A fault of its own, not tied to an effect."""
        if not self.is_stormy:
            return
        random = self.random
        process = random.choice([process for siblings in self.processes.values() for process in siblings] or [None])
        if process is None:
            return
        if self.faults.cut:
            process.link(consume=random.random() < 0.5, up=False)
        if self.faults.drain:
            if random.random() < 0.5:
                process.take(fx.DrainRequested(True))
                self.later(random.choice((0.0, 15.0)), lambda: process.take(fx.GraceOver()))
            elif process.has_runtime:
                process.ahead.clear()
                process.take(fx.DrainRequested(False))
                self.later(2.0, lambda: process.runtime_gone(told=True))
        if self.faults.cancel and self.roots:
            process.take(fx.Cancelled((random.choice(self.roots).id,)))

    def replace(self, process: Process) -> None:
        siblings = self.processes[process.queue]
        siblings.remove(process)
        self.later(self.random.random() * 2, lambda: siblings.append(Process(self, process.actor)))

    # --- envelopes, and what the plan makes of them

    def accept(self, number: int) -> None:
        random = self.random
        queue = "asya-n-a"
        if random.random() < 0.08:
            body = random.choice((b"", b"\x00\xff", b"[1]", b'{"id":"/"}', b'{"id":"x%d"}' % number, b"not json " * 700))
            self.roots.append(Node(unreadable_id(body), is_error=True))
        else:
            route = random.choice((["a"], ["a", "b"], ["a", "b", "c"], ["a", "gone"], ["b", "a"]))
            operations = ("ok", "ok", "none", "fan", "raise", "flaky", "hang", "crash", "big", "insert", "given")
            plan = {actor: random.choice(operations) for actor in route if actor != "c"}
            self.has_crasher = self.has_crasher or "crash" in plan.values()
            is_padded = random.random() < 0.05
            payload = {"plan": plan, "trail": [], "pad": ""}
            envelope = {"id": f"e{number}", "route": {"actors": route, "current": 0}, "payload": payload, "keep": {"me": 1}}
            body = encode(envelope)
            if is_padded:
                payload["pad"] = "x" * (BROKER_LIMIT_BYTES - len(body))
                body = encode(envelope)
            queue = f"asya-n-{route[0]}"
            self.roots.append(self.expect(f"e{number}", route, 0, plan, is_padded=is_padded))
        self.later(random.random() * 3, lambda: self.broker.store(queue, Message(body)))

    def expect(self, name: str, route: list[str], hop: int, plan: dict[str, str], *, is_padded: bool) -> Node:
        actor = route[hop]
        operation = self.effective(plan.get(actor, "ok"))
        if is_padded and operation == "fan" and self.max_message_bytes > BROKER_LIMIT_BYTES:
            return Node(name, children=[Node(child_id(name, hop, index), is_error=True) for index in range(3)])
        if actor == "gone" or is_padded or operation in ("raise", "hang", "crash", "big", "given"):
            return Node(name, is_error=True)
        if operation == "none":
            return Node(name)
        if operation == "insert":
            route = [*route[: hop + 1], "c", *route[hop + 1 :]]
        if operation == "fan":
            names = [child_id(name, hop, index) for index in range(3)]
            return Node(name, children=[self.onward(child, route, hop, plan) for child in names])
        return self.onward(name, route, hop, plan)

    def onward(self, name: str, route: list[str], hop: int, plan: dict[str, str]) -> Node:
        return Node(name) if hop + 1 == len(route) else self.expect(name, route, hop + 1, plan, is_padded=False)

    def effective(self, operation: str) -> str:
        if operation == "flaky" and self.max_attempts == 1:
            return "raise"
        return "ok" if operation in ("insert", "given") and not self.is_envelope_mode else operation

    def plan_at(self, body: bytes, actor: str) -> str:
        payload = decode(body)["payload"]
        return self.effective(payload["plan"].get(actor, "ok")) if "plan" in payload else "ok"

    def handler(self, body: bytes, actor: str) -> tuple[Reply, list[tuple[str, str]]]:
        """The user's function, a pure function of the message but for `flaky`; with the outputs that the sidecar must make of it."""
        envelope = decode(body)
        if actor.endswith("-end"):
            return self.store(envelope, actor, body)
        name, payload, route = envelope["id"], envelope["payload"], envelope["route"]
        hop = route["current"]
        operation = self.plan_at(body, actor)
        if operation == "raise" or (operation == "flaky" and not self.failures[actor, name]):
            self.failures[actor, name] += 1
            error = ErrorReply("handler_error", "ValueError", ("ValueError", "Exception"), "bad", "Traceback …")
            return error, [("asya-n-error-end", name)]
        payload = {**payload, "trail": [*payload["trail"], actor]}
        if operation == "big":
            payload["pad"] = "y" * (BROKER_LIMIT_BYTES + 500)
        actors = [*route["actors"]]
        if operation == "insert":
            actors[hop + 1 : hop + 1] = ["c"]
        following = actors[hop + 1] if hop + 1 < len(actors) else "happy-end"
        queue = f"asya-n-{following}"
        if operation == "none":
            return PayloadsReply((), False), [("asya-n-happy-end", name)]
        count = 3 if operation == "fan" else 1
        names = [child_id(name, hop, index) for index in range(count)] if count > 1 else [name]
        outputs = [(queue, child) for child in names]
        text = encode(payload)
        if not self.is_envelope_mode:
            return PayloadsReply((text,) * count, count > 1), outputs
        head = {key: value for key, value in envelope.items() if key != "payload"}
        head["route"] = {"actors": actors, "current": hop + 1}
        if operation == "given":
            head["error"] = {"code": "mine", "message": "no"}
            outputs = [("asya-n-error-end", name)]
        return EnvelopesReply(((encode(head), text),) * count, count > 1), outputs

    def store(self, envelope: dict[str, Any], actor: str, body: bytes) -> tuple[Reply, list[tuple[str, str]]]:
        if self.strikes("unstored"):
            return ErrorReply("handler_error", "OSError", ("OSError",), "storage is away", None), []
        records = self.results if actor == "happy-end" else self.errors
        records.setdefault(envelope["id"], body)
        head = {key: value for key, value in envelope.items() if key != "payload"}
        head["asya_stored"] = {"key": envelope["id"]}
        return EnvelopesReply(((encode(head), encode(envelope["payload"])),), False), []

    # --- the promises

    def check(self) -> None:
        known: dict[str, Node] = {}
        for root in self.roots:
            walk(root, known)
        dead = {identity(message.body) for message in self.broker.dead}
        for record in {*self.results, *self.errors, *dead}:
            if record not in known:
                raise Violation(f"record {record} was invented")
        for name in self.results:
            if known[name].is_error or known[name].children:
                raise Violation(f"{name} has a result; by its plan it has none")
        for root in self.roots:
            self.check_covered(root, dead)
        shares_crashes = self.concurrency > 1 and self.has_crasher  # a crash counts an attempt of every call that was open
        if self.faults.are_absent and self.broker.limit > 100 and self.max_deliveries > 1 and not shares_crashes:
            self.check_exact(known)
        for (queue, name), count in self.runs.items():
            if count > self.broker.deliveries[queue, name] + self.timeouts:
                raise Violation(f"{name} ran {count} times in {queue}, delivered {self.broker.deliveries[queue, name]} times")
        for queue, messages in self.broker.queues.items():
            if messages:
                raise Violation(f"{len(messages)} messages rest in {queue}")
        if self.broker.unsettled:
            raise Violation(f"{len(self.broker.unsettled)} deliveries are unsettled")
        for process in (process for siblings in self.processes.values() for process in siblings):
            if not process.decider.is_idle:
                raise Violation(f"{process.actor} remembers {process.decider.in_flight}")
        for name, body in self.errors.items():
            error = decode(body).get("error")
            if not error or set(error) != {"code", "type", "mro", "message", "traceback", "actor", "attempt", "at"}:
                raise Violation(f"error record {name} has error {error}")

    def check_covered(self, node: Node, dead: set[str]) -> None:
        if node.id in self.results or node.id in self.errors or node.id in dead:
            return
        if not node.children:
            raise Violation(f"{node.id} was accepted and has no record")
        for child in node.children:
            self.check_covered(child, dead)

    def check_exact(self, known: dict[str, Node]) -> None:
        """Without faults the records are those of the plan, and a handler runs as often as its attempts allow."""
        for (queue, name), count in self.runs.items():
            if not queue.endswith("-end") and queue != "asya-n-c" and count > max(3, self.max_attempts) + self.timeouts:
                raise Violation(f"no faults: {name} ran {count} times in {queue}")
        leaves = {name for name, node in known.items() if not node.children}
        errors = {name for name in leaves if known[name].is_error}
        if set(self.errors) != errors or set(self.results) != leaves - errors:
            raise Violation(f"no faults: errors {sorted(self.errors)}, results {sorted(self.results)}; plan {errors}, {leaves - errors}")


def walk(node: Node, into: dict[str, Node]) -> None:
    into[node.id] = node
    for child in node.children:
        walk(child, into)


def outcome(seed: int, make_decider: MakeDecider = Decider) -> str | None:
    """None if all promises hold in the history of `seed`, else what is broken."""
    try:
        World(seed, make_decider).run()
    except Exception as error:
        return f"seed {seed}: {type(error).__name__}: {error}"
    return None


def trace(seed: int, make_decider: MakeDecider = Decider) -> str:
    """The whole history of `seed`, one event or effect a line, and how it ended."""
    world = World(seed, make_decider, keep_trace=True)
    try:
        world.run()
        end = "all promises hold"
    except Exception as error:
        end = f"{type(error).__name__}: {error}"
    return "\n".join([*world.trace, f"seed {seed}, {world.faults}", end])


if __name__ == "__main__":
    print(trace(int(sys.argv[1])))
