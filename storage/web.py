"""Serving HTTP beside whatever else a process does."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from starlette.applications import Starlette

from storage.errors import SettingsError

GOODBYE_SECONDS = 2


@asynccontextmanager
async def listening(app: Starlette, address: str, setting: str) -> AsyncIterator[str]:
    """Serve within the block, on `host:port`, as `setting` says; gives the address, with the port where that was 0.

    Raises SettingsError where that address cannot be had.
    """
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=GOODBYE_SECONDS,
    )
    with _socket(address, setting) as listener:
        server = _Server(config)
        serving = asyncio.create_task(server.serve([listener]), name=setting)
        host, port = listener.getsockname()[:2]
        try:
            yield f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        finally:
            server.should_exit = True
            await asyncio.wait([serving])


@contextmanager
def listening_beside(app: Starlette, address: str, setting: str) -> Iterator[str]:
    """The same for a process without an event loop: on a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name=setting, daemon=True)
    thread.start()
    context = listening(app, address, setting)
    try:
        where = asyncio.run_coroutine_threadsafe(context.__aenter__(), loop).result()
        try:
            yield where
        finally:
            asyncio.run_coroutine_threadsafe(context.__aexit__(None, None, None), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class _Server(uvicorn.Server):
    """Leaves signals to the service around it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _socket(address: str, setting: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        return socket.create_server((host, int(port)), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise SettingsError(
            f"This computer cannot listen on {address} ({error.strerror}). Choose another {setting}."
        ) from error
