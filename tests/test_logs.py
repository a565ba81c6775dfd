"""No token and no password in any line, whichever way it came."""

import io
import logging
import sys
from collections.abc import Iterator
from urllib.parse import quote

import httpx
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from storage.logs import configure_logs, redact

TOKEN = "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw_-"
TOKENS = st.from_regex(r"[0-9]{3,12}:[A-Za-z0-9_-]{30,40}", fullmatch=True)


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What the logs say, at the most talkative level; everything is put back afterwards."""
    root, hook, httpx_logger = logging.getLogger(), sys.excepthook, logging.getLogger("httpx")
    handlers, level, httpx_level = root.handlers[:], root.level, httpx_logger.level
    stream = io.StringIO()
    configure_logs("debug", stream)
    yield stream
    root.handlers[:], sys.excepthook = handlers, hook
    root.setLevel(level)
    httpx_logger.setLevel(httpx_level)
    structlog.reset_defaults()


def fail() -> None:
    raise ValueError(f"cannot reach https://api.telegram.org/bot{TOKEN}/getMe")


def test_messages_and_values_are_redacted(lines: io.StringIO) -> None:
    """Neither the message, nor its arguments, nor named values show a token."""
    logging.getLogger("library").warning("calling bot%s with %r", TOKEN, {"token": TOKEN})
    structlog.get_logger().info(f"token {TOKEN}", url=f"/bot{TOKEN}/getMe", nested={"a": [TOKEN]})
    assert TOKEN not in lines.getvalue()
    assert lines.getvalue().count("[token]") == 5


def test_tracebacks_are_redacted(lines: io.StringIO) -> None:
    """An exception's message is part of the log as well."""
    try:
        fail()
    except ValueError:
        logging.getLogger("library").exception("failed")
        structlog.get_logger().exception("failed")
    assert TOKEN not in lines.getvalue()
    assert lines.getvalue().count("ValueError: cannot reach") == 2


def test_uncaught_errors_are_redacted(lines: io.StringIO) -> None:
    """The last words of a process go through the log, not to the terminal as they are."""
    try:
        fail()
    except ValueError as error:
        sys.excepthook(type(error), error, error.__traceback__)
    assert TOKEN not in lines.getvalue()
    assert "stopped by an error" in lines.getvalue()


def test_percent_encoded_tokens_are_redacted(lines: io.StringIO) -> None:
    """In a file's address the token's colon is percent-encoded."""
    logging.getLogger("library").error("https://host/file/bot%s/photo.jpg", quote(TOKEN))
    logging.getLogger("library").error("https://host/file/bot%s/photo.jpg", quote(TOKEN).replace("%3A", "%3a"))
    assert TOKEN.partition(":")[2] not in lines.getvalue()


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("postgresql+psycopg://bot:{}@host/name: no", "postgresql+psycopg://bot:[password]@host/name: no"),
        ("'postgresql://:{}@/name?host=/run'", "'postgresql://:[password]@/name?host=/run'"),
        ("postgres://bot@host/name?password={}&a=1", "postgres://bot@host/name?password=[password]&a=1"),
        ("postgresql://host:5432/name", "postgresql://host:5432/name"),
    ],
)
def test_passwords_of_databases_are_redacted(lines: io.StringIO, text: str, redacted: str) -> None:
    """An address of a database keeps everything but its password."""
    logging.getLogger("library").warning(text.format("p%40ss-w0rd:/+"))
    assert redacted in lines.getvalue()
    assert "w0rd" not in lines.getvalue()


def test_addresses_are_not_logged(lines: io.StringIO) -> None:
    """The HTTP client, which tells every address it calls, is silent at its usual level."""
    transport = httpx.MockTransport(lambda _request: httpx.Response(200))
    with httpx.Client(transport=transport) as client:
        client.get(f"https://api.telegram.org/bot{TOKEN}/getMe")
    assert "telegram" not in lines.getvalue()
    logging.getLogger("httpx").warning("HTTP Request: GET https://api.telegram.org/bot%s/getMe", TOKEN)
    assert "[token]" in lines.getvalue()
    assert TOKEN not in lines.getvalue()


@given(st.text(max_size=20), TOKENS, st.text(max_size=20))
def test_token_is_found_anywhere(before: str, token: str, after: str) -> None:
    """Whatever stands around it, no token's secret part is left."""
    assert token.partition(":")[2] not in redact(f"{before} {token} {after}").replace(after, "").replace(before, "")


@given(st.text(st.characters(codec="ascii"), max_size=30))
def test_other_text_is_left(text: str) -> None:
    """What is too short to hold a token stays as it is."""
    assert redact(text) == text
