import asyncio
import contextlib
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from sandbox import memory
from sandbox.app import create_app
from sandbox.errors import ListenError
from sandbox.guide import Guide
from sandbox.world import World

LOOPBACK = "127.0.0.1"
_BACKLOG = 1024  # connections
_KEEP_ALIVE = 75  # seconds; longer than clients keep idle connections, so that none is closed as it is used again
_PATIENCE = 2  # seconds that requests in progress get at the end


@dataclass(frozen=True)
class Sandbox:
    """A running sandbox. A bot's base URL is `url` + ``/bot``, its base file URL `url` + ``/file/bot``."""

    url: str
    port: int


class _Protocol(H11Protocol):
    """HTTP whose requests know their transport, so that a scripted fault can cut the connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


class _Server(uvicorn.Server):
    """Leaves signals to the program around it, and ends long polls before it waits for requests to finish."""

    def __init__(self, config: uvicorn.Config, world: World) -> None:
        super().__init__(config)
        self._world = world

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._world.close()
        await super().shutdown(sockets)


@contextlib.asynccontextmanager
async def running(
    port: int = 0, host: str = LOOPBACK, folder: Path | None = None, guide: Guide | None = None
) -> AsyncIterator[Sandbox]:
    """Serve within the block, on a free port where `port` is 0.

    What is said is kept in `folder` and is there again at the next start; without one it is forgotten. `guide` is what
    the web chat offers besides. Raises ListenError, MemoryFolderError.
    """
    async with contextlib.AsyncExitStack() as stack:
        listener = stack.enter_context(_listening(host, port))
        files = stack.enter_context(memory.opened(folder) if folder else _forgotten())
        app = create_app(files, guide=guide)
        if folder:
            await stack.enter_async_context(memory.remembering(app.state.world, folder))
        server = _server(app)
        serving = asyncio.create_task(server.serve([listener]))
        port = listener.getsockname()[1]
        try:
            yield Sandbox(f"http://{host}:{port}", port)
        finally:
            server.should_exit = True
            await serving


@contextlib.contextmanager
def _forgotten() -> Iterator[Path]:
    """A folder for files that are gone at the end."""
    with tempfile.TemporaryDirectory(prefix="sandbox-") as folder:
        yield Path(folder)


def _listening(host: str, port: int) -> socket.socket:
    """A socket that takes connections from now on, though they are answered only once the server runs.

    Its protocol is named because asyncio sends small answers at once (TCP_NODELAY) only where it sees TCP.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ListenError(
            f"Cannot listen on {host}:{port} ({error.strerror}). "
            "Stop what uses that port, or choose another with --port."
        ) from error
    return listener


def _server(app: Starlette) -> _Server:
    config = uvicorn.Config(
        app,
        http=_Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,  # An access log would hold the tokens.
        timeout_graceful_shutdown=_PATIENCE,
        timeout_keep_alive=_KEEP_ALIVE,
    )
    return _Server(config, app.state.world)


def serve(port: int, host: str = LOOPBACK, folder: Path | None = None, guide: Guide | None = None) -> None:
    """Serve as `running` does until Ctrl-C or SIGTERM. Prints one line with the URL. Raises what `running` raises."""
    asyncio.run(_until_stopped(port, host, folder, guide))


async def _until_stopped(port: int, host: str, folder: Path | None, guide: Guide | None) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with running(port, host, folder, guide) as sandbox:
        print(f"The stand-in for Telegram listens on {sandbox.url} (Ctrl-C stops it)", flush=True)  # noqa: T201
        await stop.wait()
