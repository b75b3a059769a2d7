"""The same run over servers of SQS gives the same JSON and leaves nothing behind."""

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from asya_cli.run.broker import SqsBroker
from asya_core.transports.sqs import SqsAdmin
from asya_core.transports.sqs.client import connect
from asya_core.wire.errors import RemoteFault
from tests.sqs_servers import KEYS, REGION, endpoint, settings

AWS = {"AWS_REGION": REGION, **KEYS}


@pytest.fixture
def project(project):
    return replace(project, imports=("asya_core.transports.sqs.admin", "asya_core.transports.sqs.transport"))


@pytest.fixture
def broker_url() -> str:
    return endpoint("sqs")


def queues(where: str, prefix: str) -> list[str]:
    api = connect(settings(where))
    try:
        return list(api.call("list_queues", QueueNamePrefix=prefix).get("QueueUrls") or ())
    finally:
        api.close()


@pytest.mark.behaviour("run:same-processes")
def test_sqs_gives_what_embedded_gives(project, broker_url):
    arguments = ["--route", "many,nothing", "--input", '{"text": "a"}']
    embedded = project.run(*arguments)
    done = project.run(*arguments, "--transport", "sqs", ASYA_CLI_BROKER_URL=broker_url, **AWS)
    assert done.returncode == 0, done.stderr
    assert done.stdout == embedded.stdout


def test_failure_over_sqs_exits_1_and_no_handler_sees_the_keys(project, broker_url):
    source = "import os\n\ndef show(payload):\n    raise ValueError(sorted(name for name in os.environ if name.startswith('AWS')))\n"
    (project.directory / "showing.py").write_text(source)
    project.actor("show", "handler: showing.show\n")
    done = project.run("--route", "show", "--input", "{}", "--transport", "sqs", "--broker-url", broker_url, **AWS)
    assert done.returncode == 1
    assert "ValueError in show: []" in done.stderr, done.stderr


def test_queues_of_a_run_that_did_not_end_stay_and_a_line_says_where(project):
    where = endpoint("moto")
    project.actor("slow", "handler: handlers.slow\n")
    arguments = ["--route", "slow", "--input", '{"seconds": 600}', "--timeout", "4s", "--grace", "1s", "--transport", "sqs"]
    done = project.run(*arguments, "--broker-url", where, **AWS)
    assert done.returncode == 5, done.stderr
    found = re.search(r"Queues of namespace (\S+) stay on SQS; to find them: aws sqs list-queues", done.stderr)
    assert found is not None, done.stderr
    assert len(queues(where, f"asya-{found[1]}")) == 4
    admin = SqsAdmin(settings(where))
    for url in queues(where, f"asya-{found[1]}"):
        admin.delete(url.rpartition("/")[2])
    admin.close()


def test_queues_of_the_run_are_taken_away(broker_url, monkeypatch):
    for name, value in AWS.items():
        monkeypatch.setenv(name, value)
    namespace = f"run-{os.urandom(4).hex()}"
    broker = SqsBroker(endpoint=broker_url, surroundings=AWS)
    broker.declare(namespace, ["a"])
    assert len(queues(broker_url, f"asya-{namespace}")) == 4
    assert broker.remove(namespace, ["a"]) == []
    assert queues(broker_url, f"asya-{namespace}") == []


def test_url_of_another_broker_is_refused(tmp_path: Path):
    with pytest.raises(RemoteFault) as caught:
        SqsBroker(endpoint="amqp://user:secret@host", surroundings={})
    assert caught.value.code == "bad_broker_url"
    assert "secret" not in str(caught.value)


def test_sidecars_get_awss_own_variables_and_nothing_else():
    broker = SqsBroker(endpoint=None, surroundings={"AWS_PROFILE": "ml", "AWS_REGION": "eu-central-1", "SECRET": "x", "HOME": "/h"})
    assert broker.environment() == {"ASYA_TRANSPORT": "sqs", "AWS_PROFILE": "ml", "AWS_REGION": "eu-central-1"}
