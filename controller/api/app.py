"""The API as an ASGI application over a ``Store``; it only reads."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Annotated, Any, TypeVar

from fastapi import Depends, FastAPI, HTTPException, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import TypeAdapter

from controller.api.answers import (
    Flows,
    Health,
    History,
    Links,
    LinkState,
    Problem,
    Topology,
    Units,
    UnitState,
)
from controller.api.metrics import exposition
from controller.api.store import HISTORY_SLOTS, Store, TooManyStreams

API_VERSION = "2"
_HEARTBEAT_S = 15.0
_DESCRIPTION = (
    "The operator's view of a running experiment; devices and agents have no part in it. "
    "Quantities are scenario quantities, as in a result folder. Every request bears a token."
)
_BEARER = HTTPBearer(auto_error=False, description="the run's api.token")

_REFUSED: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "no request, or one with parameters unknown here"},
    401: {"model": Problem, "description": "no token, or a wrong one"},
}
_UNKNOWN: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "there is no such thing in this run, or not yet"}
}
_FULL: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
        "description": "events `links` and `units`, one each a slot; data as of /links and /units",
    },
    503: {"model": Problem, "description": "too many streams"},
}
_TEXT: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "metrics"}
}

Name = Annotated[str, Query(min_length=1, max_length=100)]
NameInPath = Annotated[str, Path(min_length=1, max_length=100)]
T = TypeVar("T", LinkState, UnitState)


def create_app(store: Store, token: str) -> FastAPI:
    """The application; requests must bear ``token``."""
    expected = token.encode()

    async def authorised(
        given: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)],
    ) -> None:
        # compare_digest takes the same time wherever the first difference is.
        if given is None or not secrets.compare_digest(given.credentials.encode(), expected):
            raise HTTPException(401, "bear the run's token", {"WWW-Authenticate": "Bearer"})

    app = FastAPI(
        title="crowd-edge-lab, a running experiment",
        version=API_VERSION,
        description=_DESCRIPTION,
        dependencies=[Depends(authorised), Depends(_no_unknown_parameters)],
        responses=_REFUSED,
        # The interactive pages would fetch scripts from elsewhere; the document is in docs/.
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        # A redirection would come before the token is asked for, to the host that the caller names.
        redirect_slashes=False,
    )
    _add_state(app, store)
    _add_links_and_units(app, store)
    _add_watching(app, store)
    return app


async def _no_unknown_parameters(request: Request) -> None:
    """A misspelt parameter must not pass for the default."""
    route = request.scope["route"]
    known = {p.alias for p in route.dependant.query_params} if isinstance(route, APIRoute) else ()
    unknown = sorted(set(request.query_params) - set(known))
    if unknown:
        raise HTTPException(400, f"there is no parameter '{unknown[0]}'")


def _json(kind: type[Any], value: Any) -> Response:
    """Serialised in one go: values of ``answers`` need no second validation."""
    return Response(_adapter(kind).dump_json(value), media_type="application/json")


_ADAPTERS: dict[type[Any], TypeAdapter[Any]] = {}


def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def _add_state(app: FastAPI, store: Store) -> None:
    @app.get("/health", response_model=Health)
    async def health() -> Response:
        """How the experiment stands."""
        return _json(Health, store.health())

    @app.get("/topology", response_model=Topology)
    async def topology() -> Response:
        """Nodes and links as the scenario has them."""
        return _json(Topology, store.topology())

    @app.get("/flows", response_model=Flows, responses=_UNKNOWN)
    async def flows(switch: Name | None = None) -> Response:
        """Flows installed, on all switches or on one."""
        if switch is not None and switch not in store.flows:
            raise HTTPException(404, f"there is no switch '{switch}'")
        wanted = store.flows if switch is None else {switch: store.flows[switch]}
        return _json(Flows, Flows([flow for rows in wanted.values() for flow in rows]))


def _add_links_and_units(app: FastAPI, store: Store) -> None:
    @app.get("/links", response_model=Links)
    async def links() -> Response:
        """All shaped links when the last slot ended."""
        return _json(Links, store.links())

    @app.get("/links/{link}", response_model=LinkState, responses=_UNKNOWN)
    async def link_state(link: NameInPath) -> Response:
        """One link when the last slot ended; '>' is written %3E."""
        return _json(LinkState, _named(link, {k.link: k for k in store.links().links}, "link"))

    @app.get("/units", response_model=Units)
    async def units() -> Response:
        """All units when the last slot ended."""
        return _json(Units, store.units())

    @app.get("/units/{unit}", response_model=UnitState, responses=_UNKNOWN)
    async def unit_state(unit: NameInPath) -> Response:
        """One unit when the last slot ended."""
        return _json(UnitState, _named(unit, {u.unit: u for u in store.units().units}, "unit"))


def _named(name: str, known: dict[str, T], what: str) -> T:
    if name not in known:
        why = f"there is no {what} '{name}'" if known else f"no slot has been seen: no {what} yet"
        raise HTTPException(404, why)
    return known[name]


def _add_watching(app: FastAPI, store: Store) -> None:
    @app.get("/history", response_model=History)
    async def history(
        last: Annotated[int, Query(ge=1, le=HISTORY_SLOTS)] = 10,
        link: Name | None = None,
        unit: Name | None = None,
    ) -> Response:
        """The last slots; with a link or a unit named, of these alone."""
        return _json(History, store.last_slots(last, link, unit))

    @app.get("/metrics", response_class=Response, responses=_TEXT)
    async def metrics() -> Response:
        """Everything as Prometheus metrics."""
        return Response(exposition(store), media_type=CONTENT_TYPE_LATEST)

    @app.get("/stream", response_class=StreamingResponse, responses=_FULL)
    async def stream() -> StreamingResponse:
        """Server-sent events, as slots end; a client that does not read is dropped."""
        try:
            queue = store.subscribe()
        except TooManyStreams as refusal:
            raise HTTPException(503, str(refusal)) from None
        return StreamingResponse(_events(store, queue), media_type="text/event-stream")


async def _events(store: Store, queue: asyncio.Queue[bytes | None]) -> AsyncIterator[bytes]:
    try:
        # Something at once, so that a client knows that it is connected.
        yield b": slots follow\n\n"
        while True:
            try:
                text = await asyncio.wait_for(queue.get(), _HEARTBEAT_S)
            except TimeoutError:
                text = b": alive\n\n"
            if text is None:
                return
            yield text
    finally:
        store.unsubscribe(queue)
