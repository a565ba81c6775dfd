"""The configuration: `config.toml`, overridden by environment variables such as RETRAINBOT_TELEGRAM__TOKEN."""

import os
import re
import tomllib
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlsplit
from zoneinfo import ZoneInfo, available_timezones

from apscheduler.triggers.cron import CronTrigger
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveInt, SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as SourceError

from storage.errors import SettingsError
from storage.logs import TOKEN, Style, redact

Mode = Literal["head", "full", "scratch"]
BackboneName = Literal["inception_v3", "efficientnet_lite0"]

SECRET = frozenset({"token", "database", "database_password"})  # Settings whose values nobody may read.

# What a value must be, by the type of pydantic's error; {ge} and the like are the error's own context.
ALLOWED = {
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be text in quotes",
    "path_type": "must be a folder's path in quotes",
    "tuple_type": "must be a list, such as [1, 2]",
    "model_type": "must be a section with settings of its own",
    "literal_error": "must be {expected}",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
}


def _time_zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError("must be a time zone name such as Europe/Berlin, Asia/Shanghai or UTC")
    return name


def _cron(text: str) -> str:
    try:
        if text:
            CronTrigger.from_crontab(text)
    except ValueError as error:
        wanted = 'must be five fields: minute hour day month weekday, such as "30 2 * * *", or empty'
        raise ValueError(f"{wanted} ({error})") from error
    if text and any(character.isdigit() for character in text.split()[4]):
        raise ValueError("must name weekdays, mon to sun: a number means another day to cron than to the scheduler")
    if text and CronTrigger.from_crontab(text, UTC).get_next_fire_time(None, datetime.now(UTC)) is None:
        raise ValueError("must name a day that there is")
    return text


def _quiet(text: str) -> str:
    if text and not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d", text):
        raise ValueError('must be two times, such as "08:00-18:00", or empty')
    if text and text[:5] == text[6:]:
        raise ValueError("must end at another time than it begins")
    return text


def _every_hours(hours: float) -> float:
    if 0 < hours < 0.1:
        raise ValueError("must be 0 or at least 0.1")
    return hours


def _address(text: str) -> str:
    if not re.fullmatch(r"https?://[^/\s]+", text):
        raise ValueError("must be an address such as http://127.0.0.1:8081, without a slash at its end")
    return text


def _model_address(text: str) -> str:
    if not re.fullmatch(r"https?://\S+/models/[^/\s]+", text):
        raise ValueError("must be an address such as http://localhost:8501/v1/models/retrainbot")
    return text


def _webhook(text: str) -> str:
    if text and not re.fullmatch(r"https?://\S+", text):
        raise ValueError("must be an address such as https://bot.example.org/retrainbot, or empty")
    return text


def _listen(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not (host and port.isdecimal() and int(port) <= 65535):
        raise ValueError("must be a host and a port, such as 127.0.0.1:8443")
    return text


def _host(text: str) -> str:
    try:
        ip_address(text)
    except ValueError as error:
        raise ValueError("must be an address of this computer, such as 127.0.0.1, 0.0.0.0 or ::1") from error
    return text


def _database(address: SecretStr) -> SecretStr:
    text = address.get_secret_value()
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"postgresql", "postgresql+psycopg"} and len(parts.path) > 1 and parts.port != 0
    except ValueError:  # The port is no number.
        usable = False
    if text and not usable:
        raise ValueError("must be an address such as postgresql+psycopg://user@host/name, or empty")
    return address


def _token(token: SecretStr) -> SecretStr:
    # What may stand in an address must be what the logs redact.
    if token.get_secret_value() and not TOKEN.fullmatch(token.get_secret_value()):
        raise ValueError("must be the token that BotFather gave, such as 123456:ABC…, or empty")
    return token


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Telegram(_Section):
    token: Annotated[SecretStr, AfterValidator(_token)] = Field(
        SecretStr(""),
        description="The bot's token from BotFather; better given as RETRAINBOT_TELEGRAM__TOKEN.",
    )
    base_url: Annotated[str, AfterValidator(_address)] = Field(
        "https://api.telegram.org",
        description="Where the Bot API is; another address is for the sandbox or a Bot API server of your own.",
    )
    users: tuple[PositiveInt, ...] = Field(
        (),
        description="Telegram user ids of the owners, who let others in with /people; /help tells a person theirs.",
    )
    webhook_url: Annotated[str, AfterValidator(_webhook)] = Field(
        "", description="Where Telegram shall bring updates. Empty: the bot fetches them itself, which works anywhere."
    )
    webhook_listen: Annotated[str, AfterValidator(_listen)] = Field(
        "127.0.0.1:8443", description="Where the bot listens for them, behind whatever answers at webhook_url."
    )

    def need_token(self) -> str:
        """The token. Raises SettingsError where there is none."""
        token = self.token.get_secret_value()
        if not token:
            raise SettingsError(
                "There is no bot token. Talk to @BotFather in Telegram, send /newbot, and put the token it gives into"
                " the environment as RETRAINBOT_TELEGRAM__TOKEN, or into config.toml as token under [telegram]."
            )
        return token


class Images(_Section):
    max_side: int = Field(1024, ge=64, le=8192, description="Stored photos are at most this wide or high, in pixels.")
    max_megapixels: int = Field(
        64, ge=1, le=170, description="A photo with more megapixels is refused before it is decoded."
    )
    quality: int = Field(92, ge=50, le=100, description="JPEG quality of stored photos that must be re-encoded.")
    heic: bool = Field(False, description="Whether HEIC photos are taken, too; it needs `make .venv/.heic`.")
    decode_seconds: float = Field(20.0, gt=0, le=600, description="A photo that takes longer to decode is refused.")


class Intake(_Section):
    album_seconds: float = Field(
        1.0, gt=0, le=60, description="An album is answered when no more of it has come for so many seconds."
    )
    late_minutes: float = Field(
        10.0, gt=0, le=1440, description="An answer to a message that has waited longer says so."
    )
    messages_a_minute: int = Field(
        600, ge=1, description="What one person sends beyond this waits its turn; nothing of it is lost."
    )
    photos_a_day: int = Field(10_000, ge=1, description="A person's photos beyond this number a day are refused.")
    quarantine_mb: int = Field(200, ge=1, description="Room for refused files; the oldest go first.")
    unlabelled_mb: int = Field(2000, ge=50, description="Room for photos that are in no class; the oldest go first.")


class Training(_Section):
    mode: Mode = Field(
        "head",
        description='What a run trains: "head", the last layer; "full", the whole network from what it can already;'
        ' "scratch", the whole network from nothing.',
    )
    backbone: BackboneName = Field(
        "inception_v3",
        description='"inception_v3", or "efficientnet_lite0": five times faster and nothing to download.',
    )
    weights: str = Field(
        "imagenet",
        description='Of inception_v3: "imagenet" (downloaded once, 88 MB), or the path of a Keras .h5 weights file.',
    )
    batch_size: int = Field(
        32, ge=1, le=1024, description="Photos a step. Halved by itself, twice at most, where memory does not suffice."
    )
    seed: int = Field(0, ge=0, le=2**31 - 1, description="Runs with the same photos and seed give the same model.")
    class_weights: Literal["balanced", "none"] = Field(
        "balanced", description='"balanced": every class weighs the same, however many photos it has. Or "none".'
    )
    precision: float = Field(
        0.95, gt=0, lt=1, description="The share of its sure answers that shall be right; the others say not sure."
    )
    none_class: str = Field(
        "none", description="The class folder for photos of nothing that is asked for; it is optional."
    )
    mirrored: bool = Field(
        False, description="Whether the last layer learns from mirrored copies, too; it doubles the time for features."
    )
    time_budget: float = Field(
        0.0, ge=0, le=10_080, description="Minutes after which a run makes do with what it has. 0: none."
    )
    standby: bool = Field(
        True, description="Whether a process waits ready for the next run: it saves seconds and costs 600 MB of memory."
    )
    idle_features: bool = Field(
        True, description="Whether new photos are looked at while nothing is trained, so that a run only has to fit."
    )
    keep_runs: int = Field(
        100, ge=0, description="So many of the newest runs are kept with their reports, and each version's. 0: all."
    )
    keep_features_days: int = Field(
        30, ge=1, le=3650, description="Features of a network that no version uses are kept for so many days."
    )
    lease_seconds: float = Field(
        20.0, ge=1, le=3600, description="A run whose trainer is silent for so long is taken up again."
    )


class Network(_Section):
    """What the modes full and scratch go by."""

    epochs: int = Field(15, ge=1, le=10_000, description="How often each photo is seen at most.")
    steps: int = Field(0, ge=0, le=10_000_000, description="Steps at most, whatever the epochs. 0: as the epochs say.")
    learning_rate: float = Field(0.0, ge=0, le=10, description="The highest rate of learning. 0: what suits the mode.")
    layer_groups: int = Field(
        4, ge=1, le=50, description="Into so many groups the layers are divided; earlier ones learn more slowly."
    )
    rate_decay: float = Field(
        0.5, gt=0, le=1, description="Each group learns at this part of the rate of the group after it."
    )
    batch_norm: Literal["frozen", "adapt"] = Field(
        "frozen",
        description="In mode full: whether the statistics of batch normalisation stay, or follow the photos.",
    )
    weight_decay: float = Field(1e-4, ge=0, le=1, description="How strongly large weights are held down.")
    label_smoothing: float = Field(0.1, ge=0, lt=1, description="The part of each label that is shared out to all.")
    warm_up: float = Field(0.1, ge=0, lt=1, description="The part of all steps over which the rate rises.")
    patience: int = Field(
        10,
        ge=1,
        le=1000,
        description="Epochs of the second half without a better validation loss, after which it ends.",
    )
    input_size: int = Field(
        0, ge=0, le=1024, description="In mode scratch: pixels a side of what the network sees. 0: the backbone's own."
    )
    mixed_precision: bool = Field(True, description="Whether a GPU that gains from it computes in half precision.")


class Augmentation(_Section):
    """How photos are varied while a whole network learns; the first four are retrain.py's."""

    flip: bool = Field(True, description="Whether photos are mirrored left to right, every second time.")
    crop: float = Field(10.0, ge=0, lt=100, description="Up to so many per cent of a photo's sides are cut off.")
    scale: float = Field(20.0, ge=0, le=300, description="Photos are enlarged by up to so many per cent.")
    brightness: float = Field(20.0, ge=0, le=100, description="Photos get lighter or darker by up to so many per cent.")
    contrast: float = Field(20.0, ge=0, le=100, description="The same for contrast.")
    colour: float = Field(20.0, ge=0, le=100, description="The same for how strong colours are.")
    rotation: float = Field(0.0, ge=0, le=180, description="Photos are turned by up to so many degrees.")
    erase: float = Field(0.0, ge=0, le=1, description="How often a rectangle of a photo is blotted out.")
    mixup: float = Field(0.0, ge=0, le=1, description="How strongly pairs of photos are blended, with their labels.")


class Gate(_Section):
    """When a new version is served."""

    tolerance: float = Field(
        0.0, ge=0, le=100, description="It may be worse on the test photos by so many points of accuracy."
    )
    class_drop: float = Field(
        10.0, ge=0, le=100, description="No class that can be judged may fall by more than so many points."
    )
    class_photos: int = Field(10, ge=1, description="A class with fewer test photos cannot be judged by itself.")


class Schedule(_Section):
    cron: Annotated[str, AfterValidator(_cron)] = Field(
        "30 2 * * *", description="When to train: minute hour day month weekday (mon to sun). Empty: only on demand."
    )
    every_hours: Annotated[float, AfterValidator(_every_hours)] = Field(
        0.0,
        ge=0,
        le=8760,
        description="Train every so many hours instead, counted from midnight UTC of 1 January 1970. 0: as cron says.",
    )
    time_zone: Annotated[str, AfterValidator(_time_zone)] = Field(
        "UTC", description="The time zone of the schedule, such as Europe/Berlin."
    )
    grace_hours: float = Field(
        12.0,
        gt=0,
        le=168,
        description="A slot missed while the computer was off still runs this many hours later.",
    )
    min_changes: int = Field(
        1, ge=0, description="Only if at least so many photos are new or changed since the newest version. 0: always."
    )
    quiet: Annotated[str, AfterValidator(_quiet)] = Field(
        "", description='Hours in which no scheduled run starts, such as "08:00-18:00"; it starts when they are over.'
    )

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)


class Serving(_Section):
    top_k: int = Field(3, ge=1, le=20, description="How many classes an answer lists.")
    sure_above: float = Field(
        0.0,
        ge=0,
        le=1,
        description='An answer whose best class has a lower probability says "not sure". 0: as the version has chosen.',
    )
    threads: int = Field(0, ge=0, le=256, description="CPU threads of the model server. 0: as many as there are cores.")
    start_timeout: float = Field(120.0, ge=1, le=3600, description="Seconds a model may take to load and warm up.")
    most_waiting: int = Field(
        64, ge=1, le=10_000, description="Photos that wait for the model at most; of others the bot says it is busy."
    )
    deadline: float = Field(
        60.0, ge=1, le=3600, description="Seconds after which a photo that still waits for the model is given up."
    )
    standby: bool = Field(
        True, description="Whether a process waits ready for the next version: it saves seconds, for 300 MB of memory."
    )
    keep_warm: float = Field(
        10.0,
        ge=0,
        le=10_080,
        description="Minutes for which the version before stays loaded where memory allows, for a quick way back.",
    )
    memory_mb: int = Field(
        6000, ge=200, description="A model server that takes more memory than this is replaced by a fresh one."
    )
    keep_versions: int = Field(
        10, ge=0, description="So many of the newest versions are kept, and every pinned one. 0: all of them."
    )
    backend: Literal["own", "tensorflow_serving"] = Field(
        "own", description='What runs the models: "own" processes, or a "tensorflow_serving" server at `address`.'
    )
    address: Annotated[str, AfterValidator(_model_address)] = Field(
        "http://localhost:8501/v1/models/retrainbot",
        description="Where that TensorFlow Serving answers REST requests for the model.",
    )


class Disk(_Section):
    reserve_mb: int = Field(
        500,
        ge=0,
        description="With less free room no run starts and no photo is taken; both go on when there is more. 0: ever.",
    )


class Metrics(_Section):
    bot_port: int = Field(0, ge=0, le=65535, description="Where the bot tells figures and health. 0: nowhere.")
    trainer_port: int = Field(0, ge=0, le=65535, description="Where the trainer tells them. 0: nowhere.")
    address: Annotated[str, AfterValidator(_host)] = Field(
        "127.0.0.1", description="The address of both ports; whoever reaches it may read them."
    )


class Logging(_Section):
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least that is logged.")
    format: Style = Field(
        "auto",
        description='"console" for people, "json" for programs: an object a line. "auto": the first on a terminal, else'
        " the second.",
    )


class Settings(BaseSettings):
    """Every setting, its default and its range. Frozen: a changed file takes a restart."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, env_prefix="RETRAINBOT_", env_nested_delimiter="__", toml_file=None
    )

    data: Path = Field(Path("data"), description="The folder for photos, models and the database.")
    database: Annotated[SecretStr, AfterValidator(_database)] = Field(
        SecretStr(""),
        description="The address of a PostgreSQL database, such as postgresql+psycopg://user@host/name."
        " Empty: a file in the data folder.",
    )
    database_password: SecretStr = Field(
        SecretStr(""),
        description="The password for that address; better given as RETRAINBOT_DATABASE_PASSWORD.",
    )
    telegram: Telegram = Telegram()
    images: Images = Images()
    intake: Intake = Intake()
    training: Training = Training()
    network: Network = Network()
    augmentation: Augmentation = Augmentation()
    gate: Gate = Gate()
    schedule: Schedule = Schedule()
    serving: Serving = Serving()
    disk: Disk = Disk()
    metrics: Metrics = Metrics()
    logging: Logging = Logging()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file, which comes in as init values."""
        del settings_cls, dotenv_settings, file_secret_settings
        return env_settings, init_settings

    @property
    def photos_dir(self) -> Path:
        return self.data / "photos"

    @property
    def unlabelled_dir(self) -> Path:
        """Photos in no class: not labelled yet, or taken out of their class."""
        return self.data / "unlabelled"

    @property
    def quarantine_dir(self) -> Path:
        return self.data / "quarantine"

    @property
    def models_dir(self) -> Path:
        return self.data / "models"

    @property
    def features_dir(self) -> Path:
        return self.data / "features"

    @property
    def records_dir(self) -> Path:
        return self.data / "records"

    @property
    def snapshots_dir(self) -> Path:
        """Which photos, labels and splits each version was made of."""
        return self.data / "snapshots"

    @property
    def runs_dir(self) -> Path:
        """A folder for each run: its report, pictures, logs and checkpoints."""
        return self.data / "runs"

    @property
    def database_file(self) -> Path:
        """Where SQLite's database is, unless `database` names one of PostgreSQL's."""
        return self.data / "retrainbot.db"

    @property
    def database_place(self) -> Path | str:
        """The database's file, or its address with the password in it, which must not be shown."""
        address, password = self.database.get_secret_value(), self.database_password.get_secret_value()
        if not address:
            return self.database_file
        if not password:
            return address
        parts = urlsplit(address)
        person, _, host = parts.netloc.rpartition("@")
        user = person.partition(":")[0]
        return parts._replace(netloc=f"{user}:{quote(password, safe='')}@{host}").geturl()


def read_settings(file: Path | None = None, data: Path | None = None) -> Settings:
    """Settings from `file`, else from RETRAINBOT_CONFIG, else ./config.toml, else the defaults.

    `data` overrides the data folder. Raises SettingsError naming each wrong key, its value and what is allowed.
    """
    path = settings_file(file)
    named = file or _path_from_environment()
    content = _read_toml(path) if path.exists() or named else {}
    try:
        settings = Settings(**content)
    except ValidationError as error:
        problems = "; ".join(_explain(detail, path) for detail in error.errors())
        raise SettingsError(redact(problems)) from error
    except SourceError as error:
        raise SettingsError(f"An environment variable has no valid value: {error}. Lists look like [1, 2].") from error
    return settings.model_copy(update={"data": (data or settings.data).expanduser().absolute()})


def settings_file(file: Path | None = None) -> Path:
    """Where `read_settings` looks; nothing need be there."""
    return file or _path_from_environment() or Path("config.toml")


def _path_from_environment() -> Path | None:
    value = os.environ.get("RETRAINBOT_CONFIG")
    return Path(value) if value else None


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read ({error}). Copy config.example.toml there.") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: is not valid TOML: {error}. Compare it with config.example.toml.") from error


def _explain(detail: ErrorDetails, file: Path) -> str:
    """One problem in words: where the setting stands, its value, and what is allowed."""
    keys = [str(part) for part in detail["loc"]]
    variable = "RETRAINBOT_" + "__".join(keys[:2]).upper()
    name = variable if variable in os.environ else f"{file}: {'.'.join(keys)}"
    if detail["type"] == "extra_forbidden":
        return f"{name} is not a setting; config.example.toml lists them all"
    shown = "…" if SECRET.intersection(keys) else repr(detail["input"])
    allowed = ALLOWED.get(detail["type"], "{error}").format(**{"error": detail["msg"], **detail.get("ctx", {})})
    return f"{name} = {shown} is not allowed: it {allowed}"
