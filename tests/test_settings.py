"""The configuration file, the environment, and what a person reads when either is wrong."""

import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from storage.errors import SettingsError
from storage.settings import Settings, read_settings

EXAMPLE = Path(__file__).parent.parent / "config.example.toml"
TOKEN = "123456:ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefg"


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No configuration but the test's own."""
    for variable in [name for name in os.environ if name.startswith("RETRAINBOT_")]:
        monkeypatch.delenv(variable)
    monkeypatch.chdir(tmp_path)


def read(text: str) -> Settings:
    file = Path("some.toml")
    file.write_text(text, "utf-8")
    return read_settings(file)


def fields() -> Iterator[tuple[str, FieldInfo]]:
    """Every setting by its dotted key."""
    for name, field in Settings.model_fields.items():
        if isinstance(field.default, BaseModel):
            for key, inner in type(field.default).model_fields.items():
                yield f"{name}.{key}", inner
        else:
            yield name, field


def plain(value: Any) -> Any:
    """A default as TOML would say it."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return list(value) if isinstance(value, tuple) else str(value) if isinstance(value, Path) else value


def flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in table.items():
        found.update(flat(value, f"{key}.") if isinstance(value, dict) else {prefix + key: value})
    return found


def comments() -> dict[str, str]:
    """The comment above each key of the example."""
    found, section, above = {}, "", []
    for line in EXAMPLE.read_text("utf-8").splitlines():
        if line.startswith("["):
            section = line.strip("[]") + "."
        elif line.startswith("#"):
            above.append(line.removeprefix("# "))
            continue
        elif "=" in line:
            found[section + line.partition(" =")[0]] = " ".join(above)
        above = []
    return found


def test_example_holds_every_default() -> None:
    """The example has each setting once, with its default."""
    assert flat(tomllib.loads(EXAMPLE.read_text("utf-8"))) == {key: plain(field.default) for key, field in fields()}


def test_example_explains_every_setting() -> None:
    """Above each key of the example stands what the code says the setting means."""
    assert comments() == {key: field.description for key, field in fields()}


def test_example_is_a_valid_configuration() -> None:
    """A person may copy the example as it is."""
    assert read_settings(EXAMPLE) == read_settings()


def test_defaults_without_a_file(tmp_path: Path) -> None:
    """Without a configuration the data folder is ./data."""
    assert read_settings().data == tmp_path / "data"


def test_file_is_found_in_the_working_folder() -> None:
    """./config.toml is read without being named."""
    Path("config.toml").write_text("[serving]\ntop_k = 7\n", "utf-8")
    assert read_settings().serving.top_k == 7


def test_file_is_found_through_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """RETRAINBOT_CONFIG names the file."""
    Path("other.toml").write_text("[serving]\ntop_k = 8\n", "utf-8")
    monkeypatch.setenv("RETRAINBOT_CONFIG", "other.toml")
    assert read_settings().serving.top_k == 8


def test_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable changes its own setting and leaves the rest of its section to the file."""
    monkeypatch.setenv("RETRAINBOT_TELEGRAM__TOKEN", TOKEN)
    monkeypatch.setenv("RETRAINBOT_TELEGRAM__USERS", "[1, 2]")
    settings = read('[telegram]\ntoken = ""\nbase_url = "http://127.0.0.1:8081"\n')
    assert settings.telegram.token.get_secret_value() == TOKEN
    assert settings.telegram.users == (1, 2)
    assert settings.telegram.base_url == "http://127.0.0.1:8081"


def test_weekdays_by_name_are_taken() -> None:
    """A schedule of working days is what it says, and an empty one is none."""
    assert read('[schedule]\ncron = "30 2 * * mon-fri"').schedule.cron == "30 2 * * mon-fri"
    assert not read('[schedule]\ncron = ""').schedule.cron


def test_data_folder_may_be_given_by_hand(tmp_path: Path) -> None:
    """The data folder of the command line wins over the file."""
    Path("config.toml").write_text('data = "elsewhere"', "utf-8")
    assert read_settings(data=Path("here")).data == tmp_path / "here"


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ("colour = 1", "colour", "is not a setting"),
        ("[images]\nmax_sid = 5", "images.max_sid", "is not a setting"),
        ("[images]\nmax_side = 5", "images.max_side = 5", "at least 64"),
        ("[images]\nmax_side = 3.5", "images.max_side = 3.5", "a whole number"),
        ('[images]\nmax_side = "big"', "images.max_side = 'big'", "a whole number"),
        ("[images]\nquality = 101", "images.quality = 101", "at most 100"),
        ("images = [1]", "images = [1]", "a section"),
        ('[training]\nbackbone = "resnet"', "training.backbone = 'resnet'", "'inception_v3' or 'efficientnet_lite0'"),
        ("[training]\nlease_seconds = nan", "training.lease_seconds = nan", "at most 3600"),
        ('[schedule]\ncron = "daily"', "schedule.cron = 'daily'", "five fields"),
        ('[schedule]\ncron = "99 2 * * *"', "schedule.cron = '99 2 * * *'", "59"),
        ('[schedule]\ncron = "30 2 * * 1-5"', "schedule.cron = '30 2 * * 1-5'", "mon to sun"),
        ('[schedule]\ncron = "0 0 30 feb *"', "schedule.cron = '0 0 30 feb *'", "a day that there is"),
        ("[schedule]\nevery_hours = 0.01", "schedule.every_hours = 0.01", "at least 0.1"),
        ('[schedule]\nquiet = "8-18"', "schedule.quiet = '8-18'", "08:00-18:00"),
        ('[schedule]\nquiet = "08:00-08:00"', "schedule.quiet = '08:00-08:00'", "another time"),
        ('[schedule]\ntime_zone = "Mars"', "schedule.time_zone = 'Mars'", "Europe/Berlin"),
        ("[schedule]\ngrace_hours = 0", "schedule.grace_hours = 0", "more than 0"),
        ("[serving]\nsure_above = 'high'", "serving.sure_above = 'high'", "a number"),
        ("[logging]\nlevel = 3", "logging.level = 3", "'debug', 'info', 'warning' or 'error'"),
        ('[telegram]\nbase_url = "api"', "telegram.base_url = 'api'", "http://"),
        ("[telegram]\nbase_url = 5", "telegram.base_url = 5", "text in quotes"),
        ("[telegram]\nusers = 5", "telegram.users = 5", "a list"),
        ("[telegram]\nusers = [-5]", "telegram.users.0 = -5", "more than 0"),
        ('[telegram]\ntoken = "abc"', "telegram.token", "BotFather"),
        (f'[telegram]\ntoken = "{TOKEN} {TOKEN}"', "telegram.token", "BotFather"),
        ('database = "mysql://bot@host/name"', "database = …", "postgresql+psycopg://user@host/name"),
        ('database = "postgresql://bot@host"', "database = …", "postgresql+psycopg://user@host/name"),
        ('database = "postgresql://bot@host:many/name"', "database = …", "postgresql+psycopg://user@host/name"),
        ("data = 5", "data = 5", "a folder's path"),
        ("data = ", "some.toml", "not valid TOML"),
    ],
)
def test_wrong_settings_are_explained(text: str, key: str, words: str) -> None:
    """The message names the file, the key, the value and what is allowed, without a programmer's terms."""
    with pytest.raises(SettingsError) as caught:
        read(text)
    message = str(caught.value)
    assert "some.toml" in message
    assert key in message
    assert words in message
    assert not any(jargon in message for jargon in ("Input should", "_than", "dictionary", "instance", "pydantic"))


def test_every_problem_is_told_at_once() -> None:
    """A person need not mend one line to learn of the next."""
    with pytest.raises(SettingsError, match=r"images\.max_side.*serving\.top_k"):
        read("[images]\nmax_side = 1\n[serving]\ntop_k = 0\n")


def test_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong value from the environment is told by the variable's name, not the file's."""
    monkeypatch.setenv("RETRAINBOT_IMAGES__MAX_SIDE", "big")
    with pytest.raises(SettingsError, match=r"^RETRAINBOT_IMAGES__MAX_SIDE = 'big' .* whole number"):
        read_settings()


def test_unreadable_variable_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list in the environment that is none gets an example of one."""
    monkeypatch.setenv("RETRAINBOT_TELEGRAM__USERS", "1, 2")
    with pytest.raises(SettingsError, match=r"telegram.*\[1, 2\]"):
        read_settings()


def test_missing_file_is_an_error() -> None:
    """A file that was named must be there."""
    with pytest.raises(SettingsError, match=r"no\.toml: cannot be read"):
        read_settings(Path("no.toml"))


@pytest.mark.parametrize(
    "text", [f'telegram = "{TOKEN}"', f'[telegram]\ntoken = "{TOKEN}*"', f'[images]\nquality="{TOKEN}"']
)
def test_token_is_never_shown(text: str) -> None:
    """Not even a misplaced token stands in a message or in the printed settings."""
    try:
        shown = repr(read(text))
    except SettingsError as error:
        shown = str(error)
    assert TOKEN not in shown


def test_database_is_a_file_unless_there_is_an_address(tmp_path: Path) -> None:
    """Without an address the database lies in the data folder, whatever the password says."""
    assert read("").database_place == tmp_path / "data" / "retrainbot.db"
    assert read('database_password = "unused"').database_place == tmp_path / "data" / "retrainbot.db"


@pytest.mark.parametrize(
    ("address", "whole"),
    [
        ("postgresql+psycopg://bot@host/name", "postgresql+psycopg://bot:p%40ss%3A%2F%25@host/name"),
        ("postgresql://bot:old@host:5433/name", "postgresql://bot:p%40ss%3A%2F%25@host:5433/name"),
        ("postgresql:///name?host=/run/postgresql", "postgresql://:p%40ss%3A%2F%25@/name?host=/run/postgresql"),
    ],
)
def test_password_is_put_into_the_address(monkeypatch: pytest.MonkeyPatch, address: str, whole: str) -> None:
    """A password of its own needs no percent signs, and wins over one that stands in the address."""
    assert read(f'database = "{address}"').database_place == address
    monkeypatch.setenv("RETRAINBOT_DATABASE_PASSWORD", "p@ss:/%")
    assert read(f'database = "{address}"').database_place == whole


@pytest.mark.parametrize(
    "text",
    [
        'database = "postgresql://bot:Geheim@host/name"',
        'database = "postgresql://bot:Geheim@host"',
        'database = "postgresql://bot@host/name"\ndatabase_password = "Geheim"',
        "database = ['Geheim']",
        'database_password = ["Geheim"]',
        '[images]\nquality = "postgresql+psycopg://bot:Geheim@host/name"',
    ],
)
def test_password_is_never_shown(text: str) -> None:
    """Not in a message, nor in the printed settings."""
    try:
        shown = repr(read(text))
    except SettingsError as error:
        shown = str(error)
    assert "Geheim" not in shown
