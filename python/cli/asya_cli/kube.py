"""The cluster as the command line sees it: read only, as the user of the kubeconfig. The only `kubernetes` of this package.

Called by the commands `doctor` and `plan`. Every failure is an error of ours; no foreign exception escapes.
"""

import json
import os
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final

from asya_cli.errors import nearest
from asya_core.wire.errors import Refused, RemoteFault, Unavailable

__all__ = ["GROUP", "Cluster", "connect"]

GROUP: Final = "asya.sh"
_VERSION: Final = "v1alpha1"
_SECONDS: Final = 15.0
_PAGE: Final = 500
_PARTIAL: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
"""Names and labels alone: what is in a Secret is not even sent."""
_LOOK: Final = "try kubectl version with the same kubeconfig and context"


class Cluster:
    """Reads objects as parsed JSON. See `connect`.

    Args:
        api: an API client of the official package.
        name: the context, for sentences.
        namespace: that of the context.
    """

    def __init__(self, api: Any, *, name: str, namespace: str) -> None:
        self._api = api
        self.name = name
        self.namespace = namespace
        self._skew_seconds: float | None = None

    @property
    def skew_seconds(self) -> float | None:
        """How far the API server's clock is ahead of this one's, by its last answer, to a second; None if it told no time."""
        return self._skew_seconds

    def get(self, path: str, *, metadata_only: bool = False, **query: str) -> dict[str, Any]:
        """The object or list at an API path such as ``/version``. Raises Unavailable, Refused ``forbidden``, ``not_found``."""
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        try:
            call = self._api.param_serialize(
                "GET",
                path,
                query_params=list(query.items()),
                header_params={"Accept": _PARTIAL if metadata_only else "application/json"},
                auth_settings=["BearerToken"],
            )
            answer = self._api.call_api(*call, _request_timeout=_SECONDS)
            self._skew_seconds = _skew(answer.getheader("Date") or "")
            status, content = int(answer.status), answer.read()
        except ApiException as error:
            status, content = int(error.status or 0), (error.body or b"")
        except (HTTPError, OSError) as error:
            raise Unavailable("cluster", f"Cluster {self.name} unreachable: {_reason(error)}", _LOOK) from error
        except Exception as error:  # a credential plug-in of the kubeconfig may raise anything
            raise Unavailable("cluster", f"Cluster {self.name} cannot be asked: {_reason(error)}", _LOOK) from error
        return self._document(status, content, path)

    def _document(self, status: int, content: bytes | str, path: str) -> dict[str, Any]:
        match status:
            case 200:
                try:
                    document = json.loads(content)
                except ValueError:
                    document = None
                if isinstance(document, dict):
                    return document
                raise Unavailable("cluster", f"Cluster {self.name} answers {path} with no JSON object", _LOOK)
            case 401:
                raise Refused("unauthenticated", f"Cluster {self.name} does not know the user of the kubeconfig", "sign in again")
            case 403:
                raise Refused("forbidden", f"Cluster {self.name} lets this user not read {path}", "ask for the right get or list there")
            case 404:
                raise Refused("not_found", f"Cluster {self.name} has no {path}", "check the name")
            case _:
                raise Unavailable("cluster", f"Cluster {self.name} answered {path} with {status}", _LOOK)

    def find(self, path: str) -> dict[str, Any] | None:
        """The object at `path`, or None if there is none."""
        try:
            return self.get(path)
        except Refused as refusal:
            if refusal.code == "not_found":
                return None
            raise

    def items(self, path: str, *, metadata_only: bool = False, **query: str) -> Iterator[dict[str, Any]]:
        """Everything in the list at `path`, page by page."""
        more = ""
        while True:
            page = self.get(path, metadata_only=metadata_only, **query, limit=str(_PAGE), **({"continue": more} if more else {}))
            yield from page.get("items") or ()
            more = page.get("metadata", {}).get("continue") or ""
            if not more:
                return

    def actors(self, namespace: str | None = None) -> list[dict[str, Any]]:
        """The AsyncActors of a namespace, or of all."""
        inside = f"/namespaces/{namespace}" if namespace else ""
        return list(self.items(f"/apis/{GROUP}/{_VERSION}{inside}/asyncactors"))

    def close(self) -> None:
        """Let go of connections."""
        self._api.close()


def connect(*, context: str | None = None) -> Cluster:
    """The cluster of the kubeconfig's context, or the one that this runs in. Nothing is asked yet.

    Raises RemoteFault ``no_kube_extra`` without the package, ``bad_kubeconfig``.
    """
    try:
        import kubernetes.config as untyped
        from kubernetes import client
        from kubernetes.config.config_exception import ConfigException
    except ModuleNotFoundError as error:
        raise RemoteFault(
            "no_kube_extra", "--kube needs the package kubernetes, which is not installed", "pip install 'asya[kube]'"
        ) from error
    config: Any = untyped
    configuration = client.Configuration()
    file = os.environ.get("KUBECONFIG") or str(Path("~/.kube/config").expanduser())
    try:
        if context is None and os.environ.get("KUBERNETES_SERVICE_HOST") and not os.environ.get("KUBECONFIG"):
            config.load_incluster_config(client_configuration=configuration)
            namespace = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace").read_text(encoding="utf-8").strip()
            return Cluster(client.ApiClient(configuration), name="of this pod", namespace=namespace)
        contexts, active = config.list_kube_config_contexts(config_file=file)
        chosen = next((each for each in contexts if each["name"] == context), None) if context else active
        if chosen is None:
            names = [each["name"] for each in contexts]
            raise RemoteFault("bad_kubeconfig", f"The kubeconfig has no context {context!r}", nearest(context or "", names))
        config.load_kube_config(config_file=file, context=chosen["name"], client_configuration=configuration)
    except (ConfigException, OSError, ValueError, TypeError) as error:
        raise RemoteFault("bad_kubeconfig", f"No cluster is known: {_reason(error)}", "set KUBECONFIG or give --context") from error
    configuration.retries = False
    namespace = (chosen.get("context") or {}).get("namespace") or "default"
    return Cluster(client.ApiClient(configuration), name=chosen["name"], namespace=namespace)


def _skew(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp() - int(time.time())
    except ValueError:
        return None


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
