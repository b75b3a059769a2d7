"""What `helm test` runs: each check's line, and that it writes nothing."""

from pathlib import Path
from typing import Any

import pytest
from python.operator.tests.fake_api import Answer, Call, FakeApi
from python.operator.tests.test_process import process_settings
from python.operator.tests.twins import settings

from asya_operator.check import run_checks
from tests.sqs_servers import KEYS, REGION, endpoint

AWAY = {"rabbitmq": {"host": "127.0.0.1", "port": 1}}


def only_sqs(where: str) -> dict[str, Any]:
    return {"default": "sqs", "rabbitmq": {"enabled": False}, "sqs": {"enabled": True, "region": REGION, "endpoint": where}}


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


async def lines(api: FakeApi, tmp_path: Path, **sections: object) -> tuple[int, list[str]]:
    said: list[str] = []
    code = await run_checks(process_settings(api, tmp_path), settings(**sections), said.append)
    return code, said


def test_all_is_well(with_api, tmp_path, keys):
    async def body(api: FakeApi) -> None:
        code, said = await lines(api, tmp_path, transports=only_sqs(endpoint("moto")))
        assert code == 0, said
        assert [line.split()[0] for line in said] == ["ok"] * 4
        assert said[3].endswith(" answers\n")
        assert not [call for call in api.calls if call.writes]

    with_api(body)


def test_what_is_missing_is_told_with_the_remedy(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        api.missing = {"asyncactors", "scaledobjects"}

        async def refuse(call: Call) -> None:
            if call.plural == "pods":
                raise Answer(403, "pods is forbidden", "Forbidden")

        api.hook = refuse
        code, said = await lines(api, tmp_path, transports=AWAY)
        assert code == 1
        assert [line.split(":")[0].split(maxsplit=1) for line in said] == [
            ["FAILED", "custom resource"],
            ["FAILED", "rights"],
            ["FAILED", "KEDA"],
            ["FAILED", "RabbitMQ"],
        ]
        assert "install the chart with crds.enabled: true" in said[0]
        assert "pods is forbidden" in said[1]
        assert "install KEDA, or set scaling.keda to disabled" in said[2]

    with_api(body)


def test_keda_that_is_disabled_is_not_asked_for(with_api, tmp_path, keys):
    async def body(api: FakeApi) -> None:
        api.missing = {"scaledobjects"}
        code, said = await lines(api, tmp_path, transports=only_sqs("http://127.0.0.1:1"), scaling={"keda": "disabled"})
        assert code == 1
        assert [line.split(":")[0].split(maxsplit=1) for line in said] == [["ok", "custom resource"], ["ok", "rights"], ["FAILED", "SQS"]]
        assert "127.0.0.1:1" in said[2]
        assert "check endpoint" in said[2]

    with_api(body)
