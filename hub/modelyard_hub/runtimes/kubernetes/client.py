"""The cluster's API over the official client: JSON in, JSON out, our errors.

Objects stay the JSON that the API speaks: models of them would cost more time than all else that a watch does, and
server-side apply must say nothing that we did not.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.client.rest import RESTClientObject
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from modelyard_api.errors import Unavailable
from modelyard_hub.runtimes.kubernetes.errors import refusal
from modelyard_hub.runtimes.kubernetes.kinds import EVENT, POD, Kind, Object
from modelyard_hub.runtimes.kubernetes.manifests import MANAGER
from modelyard_hub.runtimes.kubernetes.options import KubernetesOptions, Timing
from modelyard_hub.runtimes.kubernetes.sockets import Sockets

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_PAGE = 500
_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"
_FAILED_CREATE = "FailedCreate"
_REVIEW = "authorization.k8s.io/v1"
_AWAY = (aiohttp.ClientError, asyncio.TimeoutError, OSError)


class Client:
    """Calls in one namespace. All raise ModelyardError; Unavailable where the cluster does not answer."""

    def __init__(self, api: ApiClient, namespace: str, timing: Timing) -> None:
        self.namespace = namespace
        self._api, self._timing = api, timing
        self._sockets = Sockets()
        api.rest_client = _Rest(api.configuration, self._sockets)

    async def close(self) -> None:
        """End all connections."""
        await self._api.close()
        await self._sockets.closed()

    async def get(self, kind: Kind, name: str) -> dict[str, Any]:
        """One object; NotFound."""
        return await self._json("GET", kind.path(self.namespace, name), f"get {kind.plural}/{name}")

    async def list(self, kind: Kind, selector: str) -> tuple[list[dict[str, Any]], str]:
        """All objects with those labels, and the resource version that they are of."""
        items: list[dict[str, Any]] = []
        query = {"labelSelector": selector, "limit": str(_PAGE)}
        while True:
            page = await self._json("GET", kind.path(self.namespace), f"list {kind.plural}", query=query)
            items += page.get("items") or []
            meta = page.get("metadata") or {}
            if not meta.get("continue"):
                return items, str(meta.get("resourceVersion", ""))
            query = {**query, "continue": meta["continue"]}

    async def apply(self, kind: Kind, manifest: Object) -> dict[str, Any]:
        """Server-side apply, as the one manager of what `manifest` names; the object as it is then."""
        name = manifest["metadata"]["name"]
        query = {"fieldManager": MANAGER, "force": "true"}
        path, what = kind.path(self.namespace, name), f"apply {kind.plural}/{name}"
        return await self._json("PATCH", path, what, query=query, body=manifest, content_type=_APPLY)

    async def annotate(self, pod: Object, annotations: Mapping[str, str]) -> dict[str, Any]:
        """Annotate exactly this pod."""
        meta = pod["metadata"]
        body = {"metadata": {"uid": meta["uid"], "annotations": dict(annotations)}}
        path, what = POD.path(self.namespace, meta["name"]), f"patch pods/{meta['name']}"
        query = {"fieldManager": MANAGER}
        return await self._json("PATCH", path, what, query=query, body=body, content_type=_MERGE)

    async def create(self, kind: Kind, manifest: Object) -> dict[str, Any]:
        """Make it; Conflict where there is one of its name."""
        return await self._json("POST", kind.path(self.namespace), f"create {kind.plural}", body=manifest)

    async def merge(self, kind: Kind, name: str, patch: Object) -> dict[str, Any]:
        """Merge `patch`; the uid and the resource version in its metadata are preconditions (Conflict)."""
        path, what = kind.path(self.namespace, name), f"patch {kind.plural}/{name}"
        query = {"fieldManager": MANAGER}
        return await self._json("PATCH", path, what, query=query, body=patch, content_type=_MERGE)

    async def delete(
        self, kind: Kind, live: Object, *, foreground: bool = True, unchanged: bool = False
    ) -> dict[str, Any]:
        """Delete exactly this object; `unchanged`: only as it is here. NotFound, or Conflict where another one has its
        name now, or it was changed."""
        meta = live["metadata"]
        policy = "Foreground" if foreground else "Background"
        version = {"resourceVersion": meta["resourceVersion"]} if unchanged else {}
        body = {"propagationPolicy": policy, "preconditions": {"uid": meta["uid"], **version}}
        path, what = kind.path(self.namespace, meta["name"]), f"delete {kind.plural}/{meta['name']}"
        return await self._json("DELETE", path, what, body=body)

    async def create_event(self, event: Object) -> None:
        """Tell something of an object."""
        await self._json("POST", EVENT.path(self.namespace), "create events", body=event)

    async def refused_pods(self, uid: str) -> str:
        """The last event of an object that says that its pod could not be made; empty where there is none."""
        query = {"fieldSelector": f"involvedObject.uid={uid},reason={_FAILED_CREATE}"}
        answer = await self._json("GET", EVENT.path(self.namespace), "list events", query=query)
        found = [e for e in answer.get("items") or () if e.get("reason") == _FAILED_CREATE]
        found = [e for e in found if (e.get("involvedObject") or {}).get("uid") == uid]
        last: Mapping[str, Any] = max(
            found, key=lambda e: str(e.get("lastTimestamp") or e.get("eventTime") or ""), default={}
        )
        return str(last.get("message", ""))

    async def log(self, pod: str, container: str, lines: int, *, previous: bool = False) -> tuple[str, ...]:
        """The last lines of a container; InvalidInput where it has not started."""
        query = {"container": container, "tailLines": str(lines), "previous": str(previous).lower()}
        path = POD.path(self.namespace, pod) + "/log"
        text = await self._text("GET", path, f"get pods/log of {pod}", query=query)
        return tuple(text.splitlines())

    async def allowed(self, group: str, resource: str, verb: str) -> bool:
        """Whether we may do that in the namespace; `resource` may name a subresource."""
        plural, _, sub = resource.partition("/")
        asked = {"namespace": self.namespace, "group": group, "resource": plural, "subresource": sub, "verb": verb}
        body = {"apiVersion": _REVIEW, "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": asked}}
        answer = await self._json("POST", f"/apis/{_REVIEW}/selfsubjectaccessreviews", f"ask for {verb}", body=body)
        return bool((answer.get("status") or {}).get("allowed"))

    @asynccontextmanager
    async def watch(
        self, kind: Kind, selector: str, version: str
    ) -> AsyncGenerator[AsyncGenerator[dict[str, Any], None], None]:
        """Changes after `version`, bookmarks among them, until the cluster ends the watch. Entered once the cluster
        has agreed, which may be long before anything changes."""
        seconds = self._timing.watch
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "labelSelector": selector,
            "resourceVersion": version,
            "timeoutSeconds": str(max(1, round(seconds))),
        }
        limits = aiohttp.ClientTimeout(sock_connect=self._timing.request, sock_read=seconds + self._timing.silence)
        what = f"watch {kind.plural}"
        response = await self._send("GET", kind.path(self.namespace), what, query=query, limits=limits)
        try:
            async with aclosing(_lines(response, what)) as events:
                yield events
        finally:
            # The cluster would go on sending while TLS says goodbye, and the connection would stay for half a minute.
            if response.connection is not None and response.connection.transport is not None:
                response.connection.transport.abort()
            response.close()

    async def _json(self, method: str, path: str, what: str, **more: Any) -> dict[str, Any]:
        text = await self._text(method, path, what, **more)
        try:
            found = json.loads(text)
        except ValueError as error:
            raise Unavailable(f"{what}: the answer is no JSON") from error
        if not isinstance(found, dict):
            raise Unavailable(f"{what}: the answer is no object")
        return found

    async def _text(self, method: str, path: str, what: str, **more: Any) -> str:
        limits = aiohttp.ClientTimeout(total=self._timing.request)
        response = await self._send(method, path, what, limits=limits, **more)
        try:
            return (await response.read()).decode(errors="replace")
        except _AWAY as error:
            raise _away(error) from error
        finally:
            response.release()

    async def _send(
        self,
        method: str,
        path: str,
        what: str,
        *,
        limits: aiohttp.ClientTimeout,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content_type: str = "application/json",
    ) -> aiohttp.ClientResponse:
        """The response, once it is one; its body is not read yet."""
        try:
            method, url, headers, sent, _ = await self._api.param_serialize(
                method,
                path,
                query_params=list((query or {}).items()),
                header_params={"Accept": "application/json", "Content-Type": content_type},
                body=body,
                auth_settings=["BearerToken"],
            )
            answer = await self._api.call_api(method, url, headers, sent, _request_timeout=limits)
            response: aiohttp.ClientResponse = answer.response
            if response.status >= 400:
                text = (await response.read()).decode(errors="replace")
                response.release()
                raise refusal(response.status, text, response.headers, what)
        except _AWAY as error:
            raise _away(error) from error
        return response


class _Rest(RESTClientObject):  # type: ignore[misc]
    """The client's connections, of sockets that it can wait for."""

    def __init__(self, configuration: Configuration, sockets: Sockets) -> None:
        super().__init__(configuration)
        self._sockets = sockets

    def _create_connector(self) -> aiohttp.TCPConnector:
        return aiohttp.TCPConnector(limit=self.maxsize, ssl=self.ssl_context, socket_factory=self._sockets.factory)


async def connect(options: KubernetesOptions) -> Client:
    """A client of the cluster that the options name; nothing is asked of it yet. Raises Unavailable."""
    configuration = Configuration()
    try:
        if options.kubeconfig is not None:
            await load_kube_config(str(options.kubeconfig), client_configuration=configuration, persist_config=False)
        else:
            load_incluster_config(configuration)
        namespace = options.namespace or await asyncio.to_thread(_ACCOUNT.read_text)
        api = ApiClient(configuration)
    except (ConfigException, OSError) as error:
        raise Unavailable(
            f"no cluster is known: {error}",
            remedy="Run in a pod with a service account, or set MODELYARD_KUBECONFIG and MODELYARD_NAMESPACE.",
        ) from error
    return Client(api, namespace.strip(), options.timing)


async def _lines(response: aiohttp.ClientResponse, what: str) -> AsyncGenerator[dict[str, Any], None]:
    """The events of a watch."""
    try:
        async for line in response.content:
            yield json.loads(line)
    except _AWAY as error:
        raise _away(error) from error
    except ValueError as error:
        raise Unavailable(f"{what}: the answer was cut off or is no JSON") from error


def _away(error: BaseException) -> Unavailable:
    said = str(error) or type(error).__name__
    return Unavailable(f"the cluster does not answer: {said}", remedy="It is tried again by itself.")
