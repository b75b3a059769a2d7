"""The contract of every transport (asya_core.testing.contract), one body over all implementations."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from asya_core.testing.contract import CASES, Case, play, run_case
from asya_core.testing.harness import EmbeddedHarness, Harness, TwinHarness
from tests.broker import Node
from tests.contract.harness_rabbitmq import ClassicHarness, RabbitHarness, Restart
from tests.contract.harness_sqs import MotoHarness, SqsHarness

MakeHarness = Callable[[Path, Callable[[str], Node]], Harness]
IMPLEMENTATIONS: dict[str, tuple[type[Harness], MakeHarness]] = {
    "twin": (TwinHarness, lambda folder, broker: TwinHarness()),
    "embedded": (EmbeddedHarness, lambda folder, broker: EmbeddedHarness(folder)),
    "rabbitmq": (RabbitHarness, lambda folder, broker: RabbitHarness(broker("broker"))),
    "rabbitmq-classic": (ClassicHarness, lambda folder, broker: ClassicHarness(broker("broker"))),
    "rabbitmq4": (RabbitHarness, lambda folder, broker: RabbitHarness(broker("broker4"))),
    "rabbitmq4-classic": (ClassicHarness, lambda folder, broker: ClassicHarness(broker("broker4"))),
    "sqs": (SqsHarness, lambda folder, broker: SqsHarness()),
    "sqs-moto": (MotoHarness, lambda folder, broker: MotoHarness()),
}
RABBITMQ = [pytest.mark.rabbitmq, pytest.mark.hurts_broker]
RABBITMQ4 = [pytest.mark.rabbitmq, pytest.mark.hurts_broker4]
SQS = [pytest.mark.sqs, pytest.mark.timeout(300)]  # ten thousand messages take moto's server two minutes
MARKS = {"rabbitmq4": RABBITMQ4, "rabbitmq": RABBITMQ, "sqs": SQS}
UNDER_LOAD: dict[str, MakeHarness] = {
    "embedded": lambda folder, broker: EmbeddedHarness(folder, visibility_seconds=20),
    "sqs-moto": lambda folder, broker: MotoHarness(visibility_seconds=120),
}
"""For ten thousand messages at once: acknowledgements wait so long there that a shorter timeout hands messages out again, as it must."""
MOTO_CASES = frozenset({1, 4, 5, 8, 9, 10, 13, 18, 22, 23, 24, 26, 28})
"""What every run asks moto's server: it is slow, 50 s of CPU for all thirty. CONTRACT_MOTO=all runs all."""
RESTARTS = frozenset({6, 7})
"""Cases that restart their broker. A RabbitMQ's start takes ten seconds: one is shared by these cases over both kinds of queues."""


def _parameters() -> list[object]:
    parameters = []
    for name, (kind, make) in IMPLEMENTATIONS.items():
        marks = next((marks for prefix, marks in MARKS.items() if name.startswith(prefix)), [])
        for case in CASES:
            is_put_off = name == "sqs-moto" and case.number not in MOTO_CASES and os.environ.get("CONTRACT_MOTO") != "all"
            is_shared = name.startswith("rabbitmq") and case.number in RESTARTS
            if case.number not in kind.exclusions and not is_put_off and not is_shared:
                made = UNDER_LOAD.get(name, make) if case.number == 2 else make
                parameters.append(pytest.param(case, made, id=f"{name}-{case.number:02}-{case.name}", marks=marks))
    return parameters


@pytest.mark.parametrize(("case", "make"), _parameters())
@pytest.mark.behaviour("transport:contract")
def test_transport_keeps_its_contract(case: Case, make: MakeHarness, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    run_case(case, make(tmp_path, request.getfixturevalue))


@pytest.mark.parametrize("name", [pytest.param("broker", marks=RABBITMQ), pytest.param("broker4", marks=RABBITMQ4)])
@pytest.mark.behaviour("transport:contract")
def test_transport_keeps_its_contract_over_a_restart(name: str, request: pytest.FixtureRequest) -> None:
    node: Node = request.getfixturevalue(name)
    cases = [case for case in CASES if case.number in RESTARTS]
    assert len(cases) == len(RESTARTS)

    async def all_at_once() -> None:
        restart = Restart(node, 2 * len(cases))
        async with asyncio.TaskGroup() as group:
            for case in cases:
                for kind in (RabbitHarness, ClassicHarness):
                    group.create_task(play(case, kind(node, restart=restart)), name=f"{case.name} with {kind.__name__}")

    try:
        asyncio.run(all_at_once())
    finally:
        node.renew()


def test_the_contract_has_thirty_cases_in_order() -> None:
    assert [case.number for case in CASES] == list(range(1, 31))


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_each_exclusion_is_of_a_known_case_and_has_a_reason(name: str) -> None:
    kind, _ = IMPLEMENTATIONS[name]
    assert set(kind.exclusions) <= {case.number for case in CASES}
    assert all(len(reason) > 20 for reason in kind.exclusions.values())
