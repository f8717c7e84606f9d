"""Who may call an endpoint: its owner, the groups it is shared with, its keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from modelyard_api.access import Access, KeyHash
from modelyard_hub.reconcile.needs import DesiredState, Key
from modelyard_hub.store.records import StoredEndpoint


class StoreAccess:
    """Access rules from the store. `public_keys` are PEM; several while the hub service's key is being changed."""

    def __init__(self, store: DesiredState, public_keys: Sequence[str]) -> None:
        self._store = store
        self._public_keys = tuple(public_keys)

    async def access(self, endpoint: StoredEndpoint) -> Access:
        """The rules as they are now; equal rules are equal as JSON."""
        return self._access(endpoint, await self._store.key_hashes(*endpoint.key))

    async def all(self, endpoints: Iterable[StoredEndpoint]) -> Mapping[Key, Access]:
        """Those of all these endpoints, by one question."""
        hashes = await self._store.all_key_hashes()
        return {endpoint.key: self._access(endpoint, hashes.get(endpoint.key, ())) for endpoint in endpoints}

    def _access(self, endpoint: StoredEndpoint, hashes: Iterable[KeyHash]) -> Access:
        return Access(
            owner=endpoint.endpoint.owner,
            groups=tuple(sorted(endpoint.endpoint.spec.shared_with or ())),
            public_keys=self._public_keys,
            keys=tuple(sorted(hashes, key=lambda key: key.id)),
        )
