"""Figures and health of a service, for programs that watch it: /metrics, /healthz and /readyz."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import TypeAlias

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from storage.logs import redact

PATIENCE_SECONDS = 5.0  # A check that takes longer has failed.
WELL = "ok"

# What is wrong, by name; None where nothing is. A check may block.
Checks: TypeAlias = Mapping[str, Callable[[], str | None]]
Family: TypeAlias = GaugeMetricFamily | CounterMetricFamily

disable_created_metrics()  # type: ignore[no-untyped-call]


class Present(Collector):
    """Figures that are looked up when they are asked for."""

    def __init__(self, look: Callable[[], Iterable[Family]]) -> None:
        self._look = look

    def collect(self) -> Iterable[Family]:
        return self._look()

    def describe(self) -> Iterable[Family]:
        """None ahead of time: to name them is to look them up."""
        return []


def gauge(name: str, help_: str, values: Mapping[str, float], label: str = "") -> GaugeMetricFamily:
    """`values` by the value of `label`; without a label, the one under ""."""
    family = GaugeMetricFamily(name, help_, labels=[label] if label else None)
    for key, value in values.items():
        family.add_metric([key] if label else [], value)
    return family


def create_app(registry: CollectorRegistry, health: Checks, ready: Checks) -> Starlette:
    """`health` is whether the process should be left alone, `ready` whether it does its work.

    To answer at all shows that the event loop turns.
    """

    async def metrics(_request: Request) -> Response:
        content = await asyncio.to_thread(generate_latest, registry)
        return Response(content, media_type=CONTENT_TYPE_LATEST)

    async def healthz(_request: Request) -> Response:
        return await _answer(health)

    async def readyz(_request: Request) -> Response:
        return await _answer(ready)

    return Starlette(routes=[Route("/metrics", metrics), Route("/healthz", healthz), Route("/readyz", readyz)])


def about_the_process(registry: CollectorRegistry) -> None:
    """Add its memory, processor time and open files, as every program with this library tells them."""
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)


async def _answer(checks: Checks) -> Response:
    found = dict(zip(checks, await asyncio.gather(*map(_made, checks.values())), strict=True))
    well = all(words == WELL for words in found.values())
    status = HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE
    return JSONResponse({"ok": well, "checks": found}, status)


async def _made(check: Callable[[], str | None]) -> str:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            words = await asyncio.to_thread(check)
            return redact(words or WELL)
    except TimeoutError:
        return f"There is no answer within {PATIENCE_SECONDS:g} seconds."
    except Exception as error:  # noqa: BLE001  Whatever it is, it is not well.
        return redact(f"{type(error).__name__}: {error}")
