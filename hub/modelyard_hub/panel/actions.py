"""What the page's buttons do: the same as the REST API, for who is signed in to the page."""

from __future__ import annotations

from secrets import token_hex
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Request, Response
from pydantic import Field, ValidationError

from modelyard_api.bounds import Strict
from modelyard_api.endpoints import Identity, Key, KeyCreate
from modelyard_api.errors import InvalidInput, StaleWrite
from modelyard_api.names import Label
from modelyard_api.volumes import RecoverOrder, RestoreOrder, Size, Volume, VolumeCreate
from modelyard_hub import sessions
from modelyard_hub.auth import WRITE, require_owner, require_reader, require_scope
from modelyard_hub.panel.routes import SessionCookie
from modelyard_hub.parts import Parts, PartsDep, client_address
from modelyard_hub.store.key_rows import TRY
from modelyard_hub.store.records import Actor

router = APIRouter(include_in_schema=False, prefix="/actions")
_DAY = 24 * 3600
PageHeader = Annotated[str | None, Header(alias="x-modelyard")]


class Order(Strict):
    """A button of a volume. `etag`: the volume as the page showed it."""

    etag: str
    size: Size | None = None
    snapshot: str = ""
    volume: Annotated[Label | None, Field(description="The one that gets a snapshot's files.")] = None
    folder: Annotated[str, Field(max_length=1024, description="Only this folder of the snapshot; empty: all.")] = ""


class Make(Strict):
    """The button that makes a further volume. `size` only where volumes have one."""

    name: Label
    size: Size | None = None
    server: Annotated[str, Field(max_length=64)] = ""


class Recover(Strict):
    """A button of what is in the trash."""

    name: Annotated[Label | None, Field(description="By default its own.")] = None


@router.post("/volumes", status_code=204)
async def make(
    order: Make, request: Request, parts: PartsDep, session: SessionCookie = None, page: PageHeader = None
) -> None:
    """A further one of whoever looks at the page."""
    identity = _signed_in(parts, session, page)
    create = VolumeCreate(name=order.name, size=order.size, server=order.server)
    await _audit(parts, identity, request, "volume.create", await parts.shelf.create(identity, create))


@router.post("/volumes/{owner}/{name}/{action}", status_code=204)
async def volume(
    owner: Label,
    name: Label,
    action: Literal["grow", "snapshot", "restore", "trash"],
    order: Order,
    request: Request,
    parts: PartsDep,
    session: SessionCookie = None,
    page: PageHeader = None,
) -> None:
    """Grow it, take a snapshot, restore one or a folder of it, put it into the trash."""
    identity = _signed_in(parts, session, page)
    found = await parts.shelf.get(identity, owner, name)
    require_owner(identity, owner, name)
    if action == "snapshot":
        await parts.shelf.snapshot(identity, found)
    elif action == "restore":
        if order.volume is None:
            raise InvalidInput("no name was given")
        await parts.shelf.restore(identity, found, _restore(order, order.volume))
    elif found.etag != order.etag:
        raise StaleWrite("it was changed since this page was shown", remedy="Look at the page again.")
    elif action == "trash":
        await parts.shelf.trash(identity, found)
    else:
        if order.size is None:
            raise InvalidInput("no size was given")
        await parts.shelf.write(identity, found, found.spec.model_copy(update={"size": order.size}))
    await _audit(parts, identity, request, f"volume.{action}", found)


@router.post("/trash/{key}/recover", status_code=204)
async def recover(
    key: str, order: Recover, request: Request, parts: PartsDep, session: SessionCookie = None, page: PageHeader = None
) -> None:
    """Out of the trash."""
    identity = _signed_in(parts, session, page)
    found = await parts.shelf.trashed(identity, key)
    await _audit(
        parts,
        identity,
        request,
        "volume.recover",
        await parts.shelf.recover(identity, found, RecoverOrder(name=order.name)),
    )


def _restore(order: Order, volume: str) -> RestoreOrder:
    """Paths that people type begin and end as they like; what leads out of the volume is told as the API tells it."""
    try:
        return RestoreOrder(snapshot=order.snapshot, volume=volume, folder=order.folder.strip("/ ") or None)
    except ValidationError as error:
        raise InvalidInput(error.errors()[0]["msg"].removeprefix("Value error, ")) from error


def _signed_in(parts: Parts, session: str | None, page: str | None) -> Identity:
    identity = sessions.read_session(parts.signer, session)
    sessions.check_page_token(parts.signer, page, identity)
    require_scope(identity, WRITE)
    return identity


@router.post("/endpoints/{owner}/{name}/key", status_code=201)
async def key(
    owner: Label,
    name: Label,
    request: Request,
    response: Response,
    parts: PartsDep,
    session: SessionCookie = None,
    page: PageHeader = None,
) -> Key:
    """A key for a day, to try an endpoint from its own page. This answer alone holds the secret."""
    identity = _signed_in(parts, session, page)
    require_reader(identity, (await parts.store.get(owner, name)).endpoint)
    require_owner(identity, owner, name)
    response.headers["Cache-Control"] = "no-store"
    wanted = KeyCreate(name=f"{TRY}{token_hex(4)}", expires_in=_DAY)
    return await parts.store.add_key(owner, name, wanted, Actor(identity.username, client_address(request)))


async def _audit(parts: Parts, identity: Identity, request: Request, action: str, volume: Volume) -> None:
    who = Actor(identity.username, client_address(request))
    await parts.store.audit(who, action, f"volume/{volume.owner}/{volume.name}", {"id": volume.id})
