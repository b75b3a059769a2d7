"""An API server of Kubernetes in this process, over real HTTP on loopback: what the operator's tests talk to.

It does what the operator relies on: resourceVersions, generations, server-side apply with managedFields, status as subresource, lists in
pages, watches with 410, finalizers, refused Secrets. `hook` sees each call before it is done and may fail it in any way. `calls` records
verbs and kinds, to be compared with the roles that the chart grants. `controllers` plays the cluster's part: workload controllers, KEDA,
garbage collection.
"""

import asyncio
import json
import marshal
import uuid
from base64 import b64encode
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiohttp import web

Json = dict[str, Any]
Key = tuple[str, str]
PLURALS = {
    "asyncactors": ("asya.sh", "v1alpha1", "AsyncActor"),
    "deployments": ("apps", "v1", "Deployment"),
    "statefulsets": ("apps", "v1", "StatefulSet"),
    "scaledobjects": ("keda.sh", "v1alpha1", "ScaledObject"),
    "triggerauthentications": ("keda.sh", "v1alpha1", "TriggerAuthentication"),
    "pods": ("", "v1", "Pod"),
    "configmaps": ("", "v1", "ConfigMap"),
    "events": ("", "v1", "Event"),
    "leases": ("coordination.k8s.io", "v1", "Lease"),
}
MERGE_KEYS = {
    "conditions": "type",
    "ownerReferences": "uid",
    "ports": "containerPort",
    "volumeMounts": "mountPath",
    "secretTargetRef": None,
}

AUTHORITY = (
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBfTCCASOgAwIBAgIUTmVxhdmtExaQOiypNYyBEeIgP4wwCgYIKoZIzj0EAwIw\n"
    "EzERMA8GA1UEAwwIZmFrZS1hcGkwIBcNMjYxMTI2MTIxMzA0WhgPMjEyNjExMDIx\n"
    "MjEzMDRaMBMxETAPBgNVBAMMCGZha2UtYXBpMFkwEwYHKoZIzj0CAQYIKoZIzj0D\n"
    "AQcDQgAE7w6hK4/HLTrZOOoNRUMcqqbVij+6cbndbbnQqIPTVPy0XjVkVq0swEj8\n"
    "Zg39MzCsY//rT+Gi3N1Lxt8hBGc/9aNTMFEwHQYDVR0OBBYEFBkMi7Eq3T7JVaVO\n"
    "svcn66AhWw3WMB8GA1UdIwQYMBaAFBkMi7Eq3T7JVaVOsvcn66AhWw3WMA8GA1Ud\n"
    "EwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIgMNstPxZalCxXngLnv1ck8gyj\n"
    "HZEpvg3Hd3o0cf158dcCIQCP2ZtjIHusXBKNgU3V08wWqUIpTQv/YXTvUdne3iTz\n"
    "Fg==\n"
    "-----END CERTIFICATE-----\n"
)
"""Some certificate, in place of the machine's own list of authorities, which takes 26 ms to read for each client."""


@dataclass
class Call:
    """One call, as the hook sees it."""

    number: int
    verb: str
    plural: str
    subresource: str
    namespace: str
    name: str
    body: Json | None

    @property
    def writes(self) -> bool:
        return self.verb in ("create", "update", "patch", "delete")


class Cut(Exception):
    """The connection breaks; `after`: the call is done first."""

    def __init__(self, *, after: bool) -> None:
        super().__init__()
        self.after = after


class Answer(Exception):
    """The call is answered so and not done."""

    def __init__(self, status: int, message: str = "", reason: str = "", headers: dict[str, str] | None = None, causes: Any = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.reason = reason
        self.headers = headers or {}
        self.causes = causes


Hook = Callable[[Call], Awaitable[None]]


def copied(value: Any) -> Any:
    """A JSON value's copy, as copy.deepcopy makes it in ten times the time."""
    return marshal.loads(marshal.dumps(value))


@dataclass
class FakeApi:
    """The server. `start` gives its URL."""

    hook: Hook | None = None
    missing: set[str] = field(default_factory=set)
    page: int = 500
    objects: dict[str, dict[Key, Json]] = field(default_factory=lambda: defaultdict(dict))
    calls: list[Call] = field(default_factory=list)
    silent_watches: bool = False
    black_holes: int = 0
    """How many of the next watches are accepted and never say a word."""
    watch_seconds: float = 0.0
    """0: as long as asked."""

    def __post_init__(self) -> None:
        self.version = 100
        self.compacted = 0
        self.history: list[tuple[int, str, str, Json]] = []
        self.changed = asyncio.Condition()
        self.runner: web.AppRunner | None = None
        self.url = ""
        self.listeners: list[Callable[[str, str, Json], None]] = []

    # -------------------------------------------------------------------------------------------------------------------- for tests

    async def start(self) -> str:
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{tail:.*}", self._serve)
        self.runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=0.1)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[union-attr]
        return self.url

    def reset(self) -> None:
        """Everything is gone, as on a new server."""
        self.objects.clear()
        self.history.clear()
        self.calls.clear()
        self.hook = None
        self.missing = set()

    async def stop(self) -> None:
        if self.runner is not None:
            await self.runner.cleanup()

    def kubeconfig(self) -> str:
        return json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "c",
                "clusters": [
                    {
                        "name": "c",
                        "cluster": {"server": self.url, "certificate-authority-data": b64encode(AUTHORITY.encode()).decode()},
                    }
                ],
                "users": [{"name": "u", "user": {"token": "t"}}],
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            }
        )

    def put(self, plural: str, manifest: Json, *, manager: str = "test") -> Json:
        """Create or update as somebody else; ownership of what changes goes to `manager`."""
        meta = manifest.setdefault("metadata", {})
        meta.setdefault("namespace", "demo")
        key = (meta["namespace"], meta["name"])
        old = self.objects[plural].get(key)
        new = copied(manifest)
        if old is not None:
            new["metadata"] = {**copied(old["metadata"]), **new["metadata"]}
            new.setdefault("status", copied(old.get("status") or {}))
            _steal(new, old, manager)
        return self._store(plural, key, old, new)

    def edit(self, plural: str, namespace: str, name: str, change: Callable[[Json], None], *, manager: str = "test") -> Json:
        """Change an object as somebody else."""
        old = self.objects[plural][namespace, name]
        new = copied(old)
        change(new)
        _steal(new, old, manager)
        return self._store(plural, (namespace, name), old, new)

    def get(self, plural: str, namespace: str, name: str) -> Json | None:
        return self.objects[plural].get((namespace, name))

    def remove(self, plural: str, namespace: str, name: str) -> None:
        """Delete, respecting finalizers."""
        self._delete(plural, (namespace, name))

    def expire(self) -> None:
        """Forget the past: the next watch from before is answered 410."""
        self.compacted = self.version
        self.history.clear()

    def writes(self) -> list[Call]:
        return [call for call in self.calls if call.writes and call.plural not in ("leases",)]

    # ------------------------------------------------------------------------------------------------------------------------- http

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        parts = request.path.strip("/").split("/")
        try:
            plural, namespace, name, subresource = self._route(parts)
            verb = self._verb(request, name)
            raw = await request.read()
            body = msgspec.json.decode(raw) if raw else None
            call = Call(len(self.calls), verb, plural, subresource, namespace, name, body)
            self.calls.append(call)
            after: Cut | None = None
            if self.hook is not None:
                try:
                    await self.hook(call)
                except Cut as cut:
                    if not cut.after:
                        raise
                    after = cut
            if plural in ("secrets", "serviceaccounts", "nodes"):
                raise Answer(403, f"{plural} is forbidden", "Forbidden")
            if plural in self.missing:
                raise Answer(404, "the server could not find the requested resource", "NotFound")
            if verb == "watch":
                return await self._watch(request, plural, namespace)
            answer = self._do(request, call, body)
            if after is not None:
                raise after
            return web.Response(body=msgspec.json.encode(answer), content_type="application/json")
        except Answer as error:
            status = {
                "kind": "Status",
                "apiVersion": "v1",
                "status": "Failure",
                "message": error.message,
                "reason": error.reason,
                "code": error.status,
                "details": {"causes": error.causes} if error.causes else {},
            }
            return web.json_response(status, status=error.status, headers=error.headers)
        except Cut:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()

    def _route(self, parts: list[str]) -> tuple[str, str, str, str]:
        rest = parts[2:] if parts[0] == "api" else parts[3:]
        namespace = ""
        if rest and rest[0] == "namespaces" and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        plural = rest[0] if rest else ""
        return plural, namespace, rest[1] if len(rest) > 1 else "", rest[2] if len(rest) > 2 else ""

    def _verb(self, request: web.Request, name: str) -> str:
        if request.method == "GET":
            return "watch" if request.query.get("watch") == "true" else "get" if name else "list"
        return {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}[request.method]

    def _do(self, request: web.Request, call: Call, body: Json | None) -> Json:
        key = (call.namespace, call.name)
        match call.verb:
            case "list":
                return self._list(request, call)
            case "get":
                return self._found(call.plural, key)
            case "create":
                assert body is not None
                key = (call.namespace, body["metadata"]["name"])
                if key in self.objects[call.plural]:
                    raise Answer(409, f'{call.plural} "{key[1]}" already exists', "AlreadyExists")
                return self._store(call.plural, key, None, copied(body))
            case "update":
                assert body is not None
                old = self._found(call.plural, key)
                self._check_version(old, body)
                return self._store(call.plural, key, old, {**copied(body), "metadata": {**old["metadata"], **body["metadata"]}})
            case "patch":
                assert body is not None
                if "apply-patch" in request.headers["Content-Type"]:
                    return self._apply(call, body, request.query["fieldManager"])
                return self._store(call.plural, key, old := self._found(call.plural, key), _merged(old, body))
            case _:
                self._found(call.plural, key)
                uid = ((body or {}).get("preconditions") or {}).get("uid")
                if uid is not None and self._found(call.plural, key)["metadata"]["uid"] != uid:
                    raise Answer(409, "the UID in the precondition does not match", "Conflict")
                self._delete(call.plural, key)
                return {"kind": "Status", "status": "Success"}

    def _found(self, plural: str, key: Key) -> Json:
        if key not in self.objects[plural]:
            raise Answer(404, f'{plural} "{key[1]}" not found', "NotFound")
        return self.objects[plural][key]

    def _check_version(self, old: Json, body: Json) -> None:
        version = body["metadata"].get("resourceVersion")
        if version is not None and version != old["metadata"]["resourceVersion"]:
            raise Answer(409, "the object has been modified; please apply your changes to the latest version", "Conflict")

    def _list(self, request: web.Request, call: Call) -> Json:
        limit = min(int(request.query.get("limit", "500")), self.page)
        after = request.query.get("continue", "")
        names = sorted(
            key
            for key, found in self.objects[call.plural].items()
            if (not call.namespace or key[0] == call.namespace) and _selected(found, request.query.get("labelSelector"))
        )
        if after:
            if after == "expired":
                raise Answer(410, "The provided continue parameter is too old", "Expired")
            names = [key for key in names if "/".join(key) > after]
        items = [self.objects[call.plural][key] for key in names[:limit]]
        more = "/".join(names[limit - 1]) if len(names) > limit else ""
        return {"kind": "List", "metadata": {"resourceVersion": str(self.version), "continue": more}, "items": items}

    async def _watch(self, request: web.Request, plural: str, namespace: str) -> web.StreamResponse:
        version = int(request.query["resourceVersion"])
        if version < self.compacted:
            raise Answer(410, f"too old resource version: {version}", "Expired")
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        loop = asyncio.get_running_loop()
        if self.black_holes > 0:
            self.black_holes -= 1
            await asyncio.sleep(3600)
        end = loop.time() + (self.watch_seconds or float(request.query["timeoutSeconds"]))
        selector = request.query.get("labelSelector")
        seen = version
        while (left := end - loop.time()) > 0:
            if not self.silent_watches:
                if seen < self.compacted:
                    status = {"kind": "Status", "code": 410, "message": "too old resource version", "reason": "Expired"}
                    await response.write(json.dumps({"type": "ERROR", "object": status}).encode() + b"\n")
                    return response
                for number, event, kind, body in [each for each in self.history if each[0] > seen]:
                    seen = number
                    if kind == plural and (not namespace or body["metadata"]["namespace"] == namespace) and _selected(body, selector):
                        await response.write(json.dumps({"type": event, "object": body}).encode() + b"\n")
            try:
                async with asyncio.timeout(left), self.changed:
                    await self.changed.wait()
            except TimeoutError:
                break
        return response

    # ------------------------------------------------------------------------------------------------------------------------ store

    def _store(self, plural: str, key: Key, old: Json | None, new: Json, *, status_only: bool = False) -> Json:
        group, version, kind = PLURALS[plural]
        new["apiVersion"], new["kind"] = (f"{group}/{version}" if group else version), kind
        meta = new["metadata"]
        meta["namespace"], meta["name"] = key
        if old is None:
            meta["uid"] = str(uuid.uuid4())
            meta.setdefault("creationTimestamp", "2026-01-01T00:00:00Z")
            meta["generation"] = 1
        else:
            for each in ("uid", "creationTimestamp", "generation"):
                meta[each] = old["metadata"][each]
            if not status_only and _spec(old) != _spec(new):
                meta["generation"] = old["metadata"]["generation"] + 1
            if _content(old) == _content(new):
                return old
        self.version += 1
        meta["resourceVersion"] = str(self.version)
        self.objects[plural][key] = new
        self._tell(plural, "ADDED" if old is None else "MODIFIED", new)
        if meta.get("deletionTimestamp") and not meta.get("finalizers"):
            self._gone(plural, key)
        return new

    def _delete(self, plural: str, key: Key) -> None:
        found = self.objects[plural][key]
        if found["metadata"].get("finalizers"):
            if not found["metadata"].get("deletionTimestamp"):
                new = copied(found)
                new["metadata"]["deletionTimestamp"] = "2026-01-01T00:10:00Z"
                self._store(plural, key, found, new)
            return
        self._gone(plural, key)

    def _gone(self, plural: str, key: Key) -> None:
        found = copied(self.objects[plural].pop(key))
        self.version += 1
        found["metadata"]["resourceVersion"] = str(self.version)
        self._tell(plural, "DELETED", found)

    def _tell(self, plural: str, event: str, body: Json) -> None:
        self.history.append((self.version, event, plural, copied(body)))
        del self.history[:-5000]
        for listener in self.listeners:
            listener(plural, event, body)

        async def wake() -> None:
            async with self.changed:
                self.changed.notify_all()

        self._waker = asyncio.get_running_loop().create_task(wake())

    def _apply(self, call: Call, body: Json, manager: str) -> Json:
        key = (call.namespace, call.name)
        old = self.objects[call.plural].get(key)
        if old is None:
            if call.subresource:
                raise Answer(404, f'{call.plural} "{call.name}" not found', "NotFound")
            if "uid" in body["metadata"]:
                raise Answer(
                    409, f"uid mismatch: the provided object specified uid {body['metadata']['uid']}, and no object was found", "Conflict"
                )
            if "resourceVersion" in body["metadata"]:
                raise Answer(409, "resourceVersion may not be set on an object to be created", "Conflict")
        else:
            self._check_version(old, body)
            if body["metadata"].get("uid", old["metadata"]["uid"]) != old["metadata"]["uid"]:
                raise Answer(409, "uid mismatch", "Conflict")
        wanted = {key: value for key, value in body.items() if key not in ("apiVersion", "kind")}
        wanted["metadata"] = {
            name: value for name, value in body["metadata"].items() if name in ("labels", "annotations", "ownerReferences", "finalizers")
        }
        if call.subresource:
            wanted = {"status": body.get("status", {})}
        else:
            wanted.pop("status", None)
        mine = _paths(wanted)
        new = copied(old) if old is not None else {"metadata": {}}
        entries = new["metadata"].setdefault("managedFields", [])
        entry = next(
            (
                each
                for each in entries
                if (each["manager"], each["operation"], each.get("subresource", "")) == (manager, "Apply", call.subresource)
            ),
            None,
        )
        before = _unfields(entry["fieldsV1"]) if entry is not None else set()
        others = {path for each in entries if each is not entry for path in _unfields(each["fieldsV1"])}
        for path in sorted(before - mine, key=lambda each: (each[-1] != ".", -len(each))):
            if path not in others:
                _drop(new, path)
        _overlay(new, wanted)
        for each in entries:
            if each is not entry:
                each["fieldsV1"] = _fields(_unfields(each["fieldsV1"]) - mine)
        if entry is None:
            entry = {"manager": manager, "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1"}
            if call.subresource:
                entry["subresource"] = call.subresource
            entries.append(entry)
        entry["fieldsV1"] = _fields(mine)
        if old is None and call.plural in ("deployments", "statefulsets"):
            new["spec"].setdefault("replicas", 1)
        return self._store(call.plural, key, old, new, status_only=bool(call.subresource))


# ------------------------------------------------------------------------------------------------------------------------- field sets


def _merge_key(name: str, items: list[Any]) -> str | None:
    key = MERGE_KEYS.get(name, "name")
    if key is not None and items and all(isinstance(each, dict) and key in each for each in items):
        return key
    return None


def _paths(value: Any, path: tuple[str, ...] = (), name: str = "") -> set[tuple[str, ...]]:
    """Leaves of an applied value, as fieldsV1 segments."""
    if isinstance(value, dict) and value:
        return {leaf for key, each in value.items() for leaf in _paths(each, (*path, f"f:{key}"), key)}
    if name == "finalizers" and isinstance(value, list):
        return {(*path, f'v:"{each}"') for each in value}
    if isinstance(value, list) and (key := _merge_key(name, value)):
        made = set()
        for each in value:
            inner = (*path, f"k:{json.dumps({key: each[key]})}")
            made |= {(*inner, ".")} | {leaf for one, other in each.items() for leaf in _paths(other, (*inner, f"f:{one}"), one)}
        return made
    return {path} if len(path) > 1 else set()


def _fields(paths: set[tuple[str, ...]]) -> Json:
    made: Json = {}
    for path in sorted(paths):
        at = made
        for segment in path:
            at = at.setdefault(segment, {})
    return made


def _unfields(fields: Json, path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    if not fields:
        return {path} if path else set()
    return {leaf for segment, inner in fields.items() for leaf in _unfields(inner, (*path, segment))}


def _step(at: Any, segment: str) -> Any:
    if at is None:
        return None
    if segment.startswith("f:"):
        return at.get(segment[2:]) if isinstance(at, dict) else None
    if segment.startswith("k:"):
        [(key, value)] = json.loads(segment[2:]).items()
        return next((each for each in at if each.get(key) == value), None) if isinstance(at, list) else None
    return at


def _drop(root: Json, path: tuple[str, ...]) -> None:
    at: Any = root
    parents: list[tuple[Any, str]] = []
    for segment in path[:-1]:
        parents.append((at, segment))
        at = _step(at, segment)
    last = path[-1]
    if at is None:
        return
    if last == ".":
        holder = parents[-1][0]
        if isinstance(holder, list) and at in holder:
            holder.remove(at)
        return
    if last.startswith("v:"):
        value = json.loads(last[2:])
        if isinstance(at, list) and value in at:
            at.remove(value)
    elif isinstance(at, dict):
        at.pop(last[2:], None)
    # Maps that became empty go too, as far as they are inside spec.
    for holder, segment in reversed(parents):
        inner = _step(holder, segment)
        if isinstance(inner, dict) and not inner and isinstance(holder, dict) and len(parents) > 1:
            holder.pop(segment[2:], None)
        else:
            break


def _overlay(at: Json, wanted: Json, name: str = "") -> None:
    for key, value in wanted.items():
        held = at.get(key)
        if isinstance(value, dict) and value and isinstance(held, dict):
            _overlay(held, value, key)
        elif key == "finalizers":
            at[key] = [*(held or []), *(each for each in value if each not in (held or []))]
        elif value == {} and isinstance(held, dict):
            continue
        elif isinstance(value, list) and (merge := _merge_key(key, value)) and isinstance(held, list):
            by = {each.get(merge): each for each in held}
            for each in value:
                if each[merge] in by:
                    _overlay(by[each[merge]], each, key)
                else:
                    held.append(copied(each))
        else:
            at[key] = copied(value)


def _steal(new: Json, old: Json, manager: str) -> None:
    """An update by `manager`: what it changed is its own now."""
    changed = {path for path in _paths({"spec": new.get("spec") or {}}) if _at(new, path) != _at(old, path)}
    if not changed:
        return
    entries = new["metadata"].setdefault("managedFields", [])
    for each in entries:
        each["fieldsV1"] = _fields(_unfields(each["fieldsV1"]) - changed)
    entries.append({"manager": manager, "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": _fields(changed)})


def _at(root: Any, path: tuple[str, ...]) -> Any:
    for segment in path:
        root = _step(root, segment) if segment != "." else root
    return root


def _merged(old: Json, patch: Json) -> Json:
    new = copied(old)
    for key, value in patch.items():
        if value is None:
            new.pop(key, None)
        elif isinstance(value, dict) and isinstance(new.get(key), dict):
            new[key] = _merged(new[key], value)
        else:
            new[key] = copied(value)
    return new


def _selected(found: Json, selector: str | None) -> bool:
    return not selector or selector in ((found["metadata"].get("labels")) or {})


def _spec(found: Json) -> bytes:
    return msgspec.json.encode([found.get("spec"), found.get("data"), found["metadata"].get("deletionTimestamp")], order="deterministic")


def _content(found: Json) -> bytes:
    meta = {key: value for key, value in found["metadata"].items() if key not in ("resourceVersion", "generation")}
    return msgspec.json.encode({**found, "metadata": meta}, order="deterministic")


# ------------------------------------------------------------------------------------------------------------------------ controllers


class Controllers:
    """The cluster's own part: workloads become observed and available, KEDA is content, children of what is gone go.

    Args:
        api: the server.
        has_pods: workloads' pods are made and become ready.
    """

    def __init__(self, api: FakeApi) -> None:
        self.api = api
        self._busy = False
        api.listeners.append(self._see)

    def _see(self, plural: str, event: str, body: Json) -> None:
        meta = body["metadata"]
        key = (meta["namespace"], meta["name"])
        if event == "DELETED":
            if plural == "asyncactors":
                asyncio.get_running_loop().call_soon(self._collect, meta["uid"])
            return
        if plural in ("deployments", "statefulsets"):
            asyncio.get_running_loop().call_soon(self._workload, plural, key)
        elif plural == "scaledobjects":
            asyncio.get_running_loop().call_soon(self._scaler, key)

    def _collect(self, uid: str) -> None:
        for plural in ("deployments", "statefulsets", "scaledobjects", "triggerauthentications"):
            for key, found in list(self.api.objects[plural].items()):
                if any(owner["uid"] == uid for owner in found["metadata"].get("ownerReferences") or []):
                    self.api._gone(plural, key)

    def _workload(self, plural: str, key: Key) -> None:
        found = self.api.objects[plural].get(key)
        if found is None:
            return
        new = copied(found)
        count = found["spec"].get("replicas", 1)
        new["status"] = {
            "observedGeneration": found["metadata"]["generation"],
            "replicas": count,
            "updatedReplicas": count,
            "readyReplicas": count,
            "availableReplicas": count,
        }
        self.api._store(plural, key, found, new, status_only=True)

    def _scaler(self, key: Key) -> None:
        found = self.api.objects["scaledobjects"].get(key)
        if found is None:
            return
        new = copied(found)
        new["status"] = {"conditions": [{"type": "Ready", "status": "True", "reason": "ScaledObjectReady", "message": "ready for scaling"}]}
        self.api._store("scaledobjects", key, found, new, status_only=True)
