"""Logs: structured, on stderr, and never with a token or a password in them."""

import logging
import re
import sys
from typing import Any, TextIO

import structlog

# A bot token wherever it stands: in an address, an error message or a traceback. The colon may be percent-encoded.
TOKEN = re.compile(r"\d{3,}(?::|%3A)[A-Za-z0-9_-]{30,}", re.IGNORECASE)
# A password in the address of a database, between the user and the host or among the options behind the name.
PASSWORD = re.compile(r"(postgres\w*[+\w]*://[^\s/@:]*:)\S+(?=@)|([?&]password=)[^\s&'\"]+", re.IGNORECASE)

# Libraries that tell every step; httpx among them tells every address, and a bot's address contains the token.
QUIET = ("httpx", "alembic", "apscheduler", "tensorflow", "absl")


def redact(text: str) -> str:
    return PASSWORD.sub(r"\1\2[password]", TOKEN.sub("[token]", text))


class RedactingFormatter(structlog.stdlib.ProcessorFormatter):
    """Redacts the finished line, so that nothing on the way can add a secret afterwards."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


def configure_logs(level: str = "info", stream: TextIO | None = None) -> None:
    """Send every logger, those of libraries too, through one redacting handler."""
    output = stream or sys.stderr
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
    renderer = structlog.dev.ConsoleRenderer(colors=output.isatty(), exception_formatter=structlog.dev.plain_traceback)
    handler = logging.StreamHandler(output)
    handler.setFormatter(
        RedactingFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    sys.excepthook = _log_uncaught


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    structlog.get_logger().critical("stopped by an error", exc_info=(kind, error, trace))
