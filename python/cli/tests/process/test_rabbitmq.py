"""The same run over a real RabbitMQ gives the same JSON and leaves nothing behind."""

import os

import pytest

from asya_core.transports.rabbitmq import RabbitAdmin, RabbitSettings
from asya_core.wire.errors import Refused

pytestmark = pytest.mark.rabbitmq


@pytest.fixture
def broker_url() -> str:
    url = os.environ.get("ASYA_TEST_RABBITMQ_URL")
    if not url:
        if os.environ.get("CI"):
            pytest.fail("ASYA_TEST_RABBITMQ_URL is not set; run ci/services.sh start")
        pytest.skip("ASYA_TEST_RABBITMQ_URL is not set")
    return url


@pytest.mark.behaviour("run:same-processes")
@pytest.mark.parametrize("route", ["upper", "many,nothing"])
def test_rabbitmq_gives_what_embedded_gives(project, broker_url, route):
    arguments = ["--route", route, "--input", '{"text": "a"}']
    embedded = project.run(*arguments)
    rabbit = project.run(*arguments, "--transport", "rabbitmq", ASYA_CLI_BROKER_URL=broker_url)
    assert rabbit.returncode == 0, rabbit.stderr
    assert rabbit.stdout == embedded.stdout


def test_failure_over_rabbitmq_exits_1(project, broker_url):
    done = project.run("--route", "boom", "--input", "{}", "--transport", "rabbitmq", "--broker-url", broker_url)
    assert done.returncode == 1
    assert "KeyError in boom" in done.stderr
    assert broker_url not in done.stderr


def test_queues_of_the_run_are_taken_away(broker_url, tmp_path):
    from asya_cli.run.broker import RabbitBroker

    namespace = f"run-{os.urandom(4).hex()}"
    broker = RabbitBroker(url=broker_url, password_file=tmp_path / "password")
    broker.declare(namespace, ["a"])
    admin = RabbitAdmin(RabbitSettings.from_url(broker_url, namespace=namespace))
    assert admin.peek(f"asya-{namespace}-a", 1) == []
    assert broker.remove(namespace, ["a"]) == []
    with pytest.raises(Refused):
        admin.peek(f"asya-{namespace}-a", 1)
    admin.close()
