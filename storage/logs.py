"""Logs: structured, on stderr, and never with a token or another secret in them."""

import io
import json
import logging
import re
import sys
import threading
from collections.abc import MutableMapping
from contextlib import suppress
from types import TracebackType
from typing import IO, Any, Literal, TextIO

import structlog

# A bot token wherever it stands: in an address, an error message or a traceback. The colon may be percent-encoded.
TOKEN = re.compile(r"\d{3,}(?::|%3A)[A-Za-z0-9_-]{30,}", re.IGNORECASE)
# A password in the address of a database or a proxy, before the host or among the options behind the name.
PASSWORD = re.compile(r"(://[^\s:/@\"']*:)[^\s\"']+(?=@)|([?&]password=)[^\s&'\"]+", re.IGNORECASE)
LEAST_SECRET = 8  # What is shorter is no secret, and would be found everywhere.

# Libraries that tell every step; httpx among them tells every address, and a bot's address contains the token.
QUIET = ("httpx", "alembic", "apscheduler", "tensorflow", "absl", "uvicorn")

# What TensorFlow says at each start, before it can be told to be silent.
CHATTER = re.compile(r"I\d{4} |WARNING: All log messages before absl|To enable the following instructions:")

Style = Literal["auto", "console", "json"]
_secrets: set[str] = set()


def hide(secret: str) -> None:
    """Let no log of this process, and no error that it tells, contain `secret` from now on."""
    if len(secret) >= LEAST_SECRET:
        _secrets.add(secret)


def redact(text: str) -> str:
    for secret in _secrets:
        text = text.replace(secret, "[secret]")
    return TOKEN.sub("[token]", PASSWORD.sub(r"\1\2[password]", text))


def style_of(style: Style, stream: TextIO) -> Style:
    """What "auto" means: for a person at a terminal, else for a program."""
    if style != "auto":
        return style
    return "console" if stream.isatty() else "json"


class RedactingFormatter(structlog.stdlib.ProcessorFormatter):
    """Redacts the finished line, so that nothing on the way can add a secret afterwards."""

    def __init__(self, *, as_json: bool, **options: Any) -> None:
        super().__init__(**options)
        self.as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        if getattr(record, "finished", False):
            return redact(record.getMessage())
        return redact(super().format(record))


def configure_logs(
    level: str = "info", stream: TextIO | None = None, style: Style = "auto", process: str | None = None
) -> None:
    """Send every logger, those of libraries and of Python's warnings too, through one redacting handler.

    `process` names this one in each line of JSON.
    """
    output = stream or sys.stderr
    as_json = style_of(style, output) == "json"
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    formatter = RedactingFormatter(
        as_json=as_json,
        foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *(_json(process) if as_json else _console(output)),
        ],
    )
    handler = logging.StreamHandler(output)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_thread
    sys.unraisablehook = _log_unraisable


def relay(stream: IO[bytes], process: str) -> threading.Thread:
    """Pass on what a child writes to its standard error, line by line, until it ends; `process` says what it is.

    Its log lines stay as they are but for secrets. What anything else wrote there becomes a line of the log.
    """
    lines = io.BufferedReader(stream) if isinstance(stream, io.RawIOBase) else stream  # Raw ones come byte by byte.

    def listen() -> None:
        with lines, suppress(ValueError):  # It may be closed by somebody else.
            for line in lines:
                _relay(line.decode("utf-8", "replace").rstrip(), process)

    thread = threading.Thread(target=listen, name=f"log of {process}", daemon=True)
    thread.start()
    return thread


def _relay(line: str, process: str) -> None:
    handler = next((one for one in logging.getLogger().handlers if isinstance(one.formatter, RedactingFormatter)), None)
    if handler is None:  # A program that has no log, such as a test.
        print(redact(line), file=sys.stderr)  # noqa: T201
    elif isinstance(handler.formatter, RedactingFormatter) and handler.formatter.as_json and not _is_ours(line):
        level = logging.DEBUG if CHATTER.match(line) else logging.INFO
        structlog.get_logger().log(level, "written by a child process", process=process, line=line)
    elif line:
        finished = {"msg": line, "levelno": logging.INFO, "levelname": "INFO", "finished": True}
        handler.handle(logging.makeLogRecord(finished))


def _is_ours(line: str) -> bool:
    try:
        content = json.loads(line)
    except ValueError:
        return False
    return isinstance(content, dict) and {"event", "level", "timestamp"} <= content.keys()


def _console(output: TextIO) -> list[Any]:
    renderer = structlog.dev.ConsoleRenderer(colors=output.isatty(), exception_formatter=structlog.dev.plain_traceback)
    return [renderer]


def _json(process: str | None) -> list[Any]:
    """One object a line; `exception` holds the traceback."""

    def name_process(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if process:
            event.setdefault("process", process)
        return event

    def in_order(event: dict[str, Any], **options: Any) -> str:
        first = {name: event.pop(name) for name in ("timestamp", "level", "event") if name in event}
        return json.dumps({**first, **event}, ensure_ascii=False, **options)

    return [name_process, structlog.processors.format_exc_info, structlog.processors.JSONRenderer(in_order)]


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    structlog.get_logger().critical("stopped by an error", exc_info=(kind, error, trace))


def _log_thread(told: threading.ExceptHookArgs) -> None:
    if told.exc_value is not None and not isinstance(told.exc_value, SystemExit):
        name = told.thread.name if told.thread else ""
        trace = (told.exc_type, told.exc_value, told.exc_traceback)
        structlog.get_logger().critical("a thread ended by an error", thread=name, exc_info=trace)


def _log_unraisable(told: "sys.UnraisableHookArgs") -> None:
    error = told.exc_value
    trace = (told.exc_type, error, told.exc_traceback) if error else None
    structlog.get_logger().error("an error that could not be raised", at=repr(told.object), exc_info=trace)
