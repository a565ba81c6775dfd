import asyncio
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from sandbox import pages, person
from sandbox.bell import Bell
from sandbox.call import Call
from sandbox.errors import ApiError, BadRequestError, ConnectionDroppedError, PersonError
from sandbox.faults import DOWNLOAD, Fault
from sandbox.files import FileStore
from sandbox.guard import Guard
from sandbox.guide import Guide
from sandbox.limits import DOWNLOAD as DOWNLOAD_LIMIT
from sandbox.methods import METHODS
from sandbox.parameters import read_parameters
from sandbox.world import World

_BOTH = ["GET", "POST"]


def create_app(folder: Path, clock: Callable[[], float] = time.time, guide: Guide | None = None) -> Starlette:
    """The sandbox as an ASGI application; `folder` takes the files, `clock` gives seconds since 1970, and `guide` is
    what the web chat offers besides.

    Dropped connections need the transport that `sandbox.server` puts into the request's state.
    """
    chat = "/client/chats/{chat_id}"
    app = Starlette(
        routes=[
            Route("/bot{token}/{method}", bot_method, methods=_BOTH),
            Route("/file/bot{token}/{path:path}", download),
            Route(f"{chat}/messages", person.messages),
            Route(f"{chat}/messages", person.send, methods=["POST"]),
            Route(f"{chat}/events", person.events),
            Route(f"{chat}/callbacks", person.tap, methods=["POST"]),
            Route("/client/files/{file_id}", person.file),
            Route("/client/faults", person.faults, methods=[*_BOTH, "DELETE"]),
            Route(f"{chat}/commands", pages.menu),
            Route("/client/world", pages.world),
            Route("/client/stream", pages.stream),
            Route("/client/samples/{path:path}", pages.sample),
            Route("/web/{path:path}", pages.part),
            Route("/", pages.index),
        ],
        exception_handlers={
            ApiError: _refuse,
            PersonError: _refuse,
            HTTPException: _refuse,
            ConnectionDroppedError: _hang_up,
            ClientDisconnect: _gone,
        },
        middleware=[Middleware(Guard)],
    )
    app.state.world = World(FileStore(folder), clock)
    app.state.guide = guide or Guide()
    return app


async def bot_method(request: Request) -> Response:
    """``/bot<token>/<method>``: looked up, struck by a scripted fault or carried out, answered in the envelope."""
    world: World = request.app.state.world
    method = request.path_params["method"]
    bot = world.caller(request.path_params["token"], method)
    handler = METHODS.get(method.lower())
    if handler is None:
        raise ApiError(HTTPStatus.NOT_FOUND, "Not Found")
    fault = world.faults.take(method, bot.id)
    if fault and not fault.after:
        await fault.strike(world.bell)
    call = Call(world, bot, await read_parameters(request), fault)
    result = await handler(call)
    if fault and fault.after:
        await fault.strike(world.bell)
    return JSONResponse({"ok": True, "result": result})


async def download(request: Request) -> Response:
    """``/file/bot<token>/<path>``: the bytes of a file whose path getFile told."""
    world: World = request.app.state.world
    bot = world.caller(request.path_params["token"], DOWNLOAD)
    fault = world.faults.take(DOWNLOAD, bot.id)
    if fault and not fault.after:
        await fault.strike(world.bell)
    file = world.files.at(request.path_params["path"])
    if file is None:
        raise ApiError(HTTPStatus.NOT_FOUND, "Not Found")
    content = await asyncio.to_thread(world.files.read, file)
    if len(content) > DOWNLOAD_LIMIT:
        raise BadRequestError("file is too big")
    if fault and fault.after:
        return _Halved(content, fault, world.bell)
    return Response(content, media_type="application/octet-stream")


class _Halved(Response):
    """Half a file, then a fault, and the rest if that allows."""

    def __init__(self, content: bytes, fault: Fault, bell: Bell) -> None:
        super().__init__(content, media_type="application/octet-stream")
        self._half = len(content) // 2
        self._fault = fault
        self._bell = bell

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body[: self._half], "more_body": True})
        try:
            await self._fault.strike(self._bell)
        except (ApiError, ConnectionDroppedError):
            await _cut(Request(scope, receive))
        await send({"type": "http.response.body", "body": self.body[self._half :]})


async def _refuse(request: Request, error: Exception) -> Response:
    """What went wrong, in the shape that this side of the sandbox speaks."""
    person_side = request.url.path.startswith("/client/")
    match error:
        case PersonError():
            return JSONResponse({"error": str(error)}, HTTPStatus.BAD_REQUEST)
        case BadRequestError() if person_side:
            return JSONResponse({"error": error.reason}, error.code)
        case HTTPException() if person_side:
            return JSONResponse({"error": error.detail}, error.status_code)
        case ApiError():
            return JSONResponse(error.envelope(), error.code)
        case HTTPException():  # No such address, or not with this HTTP method.
            return JSONResponse(ApiError(error.status_code, error.detail).envelope(), error.status_code)
    raise error


async def _hang_up(request: Request, _: Exception) -> Response:
    """Close the connection; the response that is returned reaches nobody."""
    await _cut(request)
    return Response()


async def _gone(request: Request, _: Exception) -> Response:
    """The caller went away, or was killed, in the middle of a request: nobody is there to answer."""
    del request
    return Response()


async def _cut(request: Request) -> None:
    """Whatever is sent after this goes nowhere."""
    request.state.transport.abort()
    while (await request.receive())["type"] != "http.disconnect":
        pass
