"""The checks of ``helm test``: are definition, KEDA and broker there, may the operator do what it must? Called by `__main__`.

Each check prints one line: ``ok`` or ``FAILED``, what, and what to do. It writes nothing.
"""

from collections.abc import Awaitable, Callable

from asya_core.wire.errors import AsyaError
from asya_operator import resources
from asya_operator.app import rabbit_settings, sqs_settings
from asya_operator.kube import Kube, NotFound, configure
from asya_operator.queues import RabbitQueues
from asya_operator.settings import OperatorSettings, ProcessSettings

__all__ = ["run_checks"]


async def run_checks(process: ProcessSettings, settings: OperatorSettings, write: Callable[[str], object]) -> int:
    """Run all checks; gives the exit code. Raises RemoteFault for a broken kubeconfig."""
    kube = Kube(await configure(process.kubeconfig), may_write=lambda: False)
    checks: list[tuple[str, Callable[[], Awaitable[str]]]] = [
        ("custom resource", lambda: _lists(kube, settings, resources.ACTORS, "install the chart with crds.enabled: true")),
        ("rights", lambda: _rights(kube, settings)),
    ]
    if settings.keda != "disabled":
        checks.append(("KEDA", lambda: _lists(kube, settings, resources.SCALED_OBJECTS, "install KEDA, or set scaling.keda to disabled")))
    if settings.rabbitmq.enabled:
        checks.append(("RabbitMQ", lambda: _rabbitmq(process, settings)))
    if settings.sqs.enabled:
        checks.append(("SQS", lambda: _sqs(settings)))
    failed = 0
    try:
        for name, check in checks:
            try:
                write(f"ok      {name}: {await check()}\n")
            except AsyaError as error:
                failed += 1
                write(f"FAILED  {name}: {error}\n")
    finally:
        await kube.close()
    return 1 if failed else 0


async def _lists(kube: Kube, settings: OperatorSettings, resource: resources.Resource, remedy: str) -> str:
    name = f"{resource.plural}.{resource.group}"
    count = 0
    for namespace in settings.namespaces or (None,):
        try:
            count += len((await kube.list_page(resource, namespace)).items)
        except NotFound as error:
            raise AsyaError("missing", f"{name} is not known to the API server", remedy) from error
    return f"{name} is there, {count} objects"


async def _rights(kube: Kube, settings: OperatorSettings) -> str:
    kinds = (resources.DEPLOYMENTS, resources.STATEFUL_SETS, resources.PODS)
    for resource in kinds:
        for namespace in settings.namespaces or (None,):
            await kube.list_page(resource, namespace)
    return f"{', '.join(each.plural for each in kinds)} can be listed"


async def _rabbitmq(process: ProcessSettings, settings: OperatorSettings) -> str:
    queues = RabbitQueues(rabbit_settings(process, settings))
    try:
        await queues.depths("asya-check", ["asya-asya-check-none"])
    finally:
        await queues.close()
    how = (
        "management API answers" if settings.rabbitmq.management_url else "AMQP answers; no managementUrl, so running messages are not seen"
    )
    return f"{queues.where}: {how}"


async def _sqs(settings: OperatorSettings) -> str:
    from asya_operator.sqs_queues import SqsQueues

    queues = SqsQueues(sqs_settings(settings))
    try:
        await queues.depths("asya-check", ["asya-asya-check-none"])
    finally:
        await queues.close()
    return f"{queues.where} answers"
