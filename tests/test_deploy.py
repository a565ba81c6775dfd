"""The files in deploy/: what they name exists, what they ask for is real, and their times are those of the code."""

import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from bot.worker import GOODBYE_SECONDS
from cli.main import WRONG_USE, app, hoist
from cli.supervisor import HANGS_SECONDS
from cli.supervisor import STOP_SECONDS as SUPERVISOR_STOPS
from serving.backend import ANSWER_SECONDS
from serving.client import CLOSE_SECONDS
from storage.settings import Settings, read_settings
from storage.sqlite import BUSY_TIMEOUT_MS
from trainer.worker import STOP_SECONDS as TRAINER_STOPS

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
CONTAINERFILE = (DEPLOY / "Containerfile").read_text("utf-8")
PROGRAM = "/opt/retrainbot/.venv/bin/retrainbot"
LONGEST_STOP = {  # Seconds, by command: what each waits for, one after the other.
    "run": 2 * SUPERVISOR_STOPS,
    "bot": GOODBYE_SECONDS + ANSWER_SECONDS + CLOSE_SECONDS,
    "trainer": TRAINER_STOPS + BUSY_TIMEOUT_MS / 1000,
}


def unit(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(path)
    return parser


def compose(*names: str) -> dict[str, Any]:
    """The services of a compose file, or of one with others laid over it."""
    services: dict[str, Any] = {}
    for name in names:
        content = yaml.safe_load((DEPLOY / name).read_text("utf-8"))
        for service, what in content["services"].items():
            services[service] = {**services.get(service, {}), **what}
    return services


def command(words: list[str]) -> str:
    """The command among these words of ours; it and its options must exist."""
    *options, last = hoist(words)
    known = get_command(app)
    assert last in known.commands  # type: ignore[attr-defined]
    names = {name for parameter in known.params for name in parameter.opts}
    assert {option for option in options if option.startswith("--")} <= names
    return last


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_units_start_a_command_that_there_is(path: Path) -> None:
    """With options that it has, on folders that it may write to, and long enough to stop in order."""
    service = unit(path)["Service"]
    program, *words = shlex.split(service["ExecStart"])
    assert program == PROGRAM
    name = command(words)
    data = Path(words[words.index("--data") + 1])
    assert Path(service["ReadWritePaths"]) in data.parents
    assert service["StateDirectory"] == service["ReadWritePaths"].removeprefix("/var/lib/")
    assert int(service["TimeoutStopSec"]) > LONGEST_STOP[name]
    assert int(service["WatchdogSec"]) == HANGS_SECONDS
    assert int(service["RestartPreventExitStatus"]) == WRONG_USE
    assert (service["Type"], service["Restart"], service["OOMPolicy"]) == ("notify", "on-failure", "continue")


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_units_are_hardened(path: Path) -> None:
    """A program that somebody broke into could not do much."""
    service = unit(path)["Service"]
    for name in (
        *("NoNewPrivileges", "PrivateTmp", "ProtectHome", "ProtectKernelTunables", "ProtectKernelModules"),
        *("ProtectControlGroups", "RestrictSUIDSGID", "RestrictNamespaces", "LockPersonality", "RestrictRealtime"),
    ):
        assert service[name] == "yes", name
    assert (service["ProtectSystem"], service["CapabilityBoundingSet"]) == ("strict", "")
    assert service["User"] in (DEPLOY / "systemd" / "retrainbot.sysusers").read_text("utf-8")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed here")
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    """Nothing in them is unknown or wrong to it, and it finds little that they could do."""
    for path in UNITS:
        (tmp_path / path.name).write_text(path.read_text("utf-8").replace(PROGRAM, sys.executable), "utf-8")
    units = [str(path) for path in sorted(tmp_path.glob("*.service"))]
    environment = {**os.environ, "SYSTEMD_COLORS": "0"}
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], env=environment, capture_output=True, text=True, check=False
    )
    ours = [line for line in verified.stderr.splitlines() if "retrainbot" in line]
    assert (verified.returncode, ours) == (0, [])
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=25", units[0]],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert judged.returncode == 0, judged.stdout[-200:]


@pytest.mark.parametrize("path", sorted(DEPLOY.rglob("*")), ids=lambda path: path.name)
def test_settings_that_are_named_exist(path: Path) -> None:
    """Each environment variable of ours is a setting."""
    if path.is_dir():
        return
    for variable in re.findall(r"RETRAINBOT_[A-Z_]*[A-Z]", path.read_text("utf-8")):
        section, _, name = variable.removeprefix("RETRAINBOT_").lower().partition("__")
        if variable == "RETRAINBOT_SECTION__NAME":
            continue
        field = Settings.model_fields[section]
        assert not name or name in type(field.default).model_fields, variable


def test_the_example_environment_can_be_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As it is; there is no token in it."""
    monkeypatch.chdir(tmp_path)
    for variable in [name for name in os.environ if name.startswith("RETRAINBOT_")]:
        monkeypatch.delenv(variable)
    for line in (DEPLOY / "example.env").read_text("utf-8").splitlines():
        if not line.startswith("#"):
            name, _, value = line.partition("=")
            monkeypatch.setenv(name, value)
    settings = read_settings()
    assert settings.training.backbone == "efficientnet_lite0"
    assert not settings.telegram.token.get_secret_value()


def test_the_image_has_all_packages_and_no_more() -> None:
    """What is copied exists, is every package of ours, and is let through; nothing names a registry of packages."""
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", CONTAINERFILE, re.MULTILINE)
    names = {name.rstrip("/") for line in copied for name in line.split()}
    assert {name for name in names if not (ROOT / name).exists()} == set()
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["packages"]
    assert {package.partition(".")[0] for package in packages} <= names
    let_through = {line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line[:1] == "!"}
    assert let_through == names
    builds = re.findall(r"requirements/\$\{BUILD\}\.txt", CONTAINERFILE)
    assert builds
    assert all((ROOT / "requirements" / f"{build}.txt").exists() for build in ("cpu", "gpu"))
    assert "--require-hashes" in CONTAINERFILE
    assert re.search(r"^USER 10001", CONTAINERFILE, re.MULTILINE)
    assert not re.search(r"https?://|index-url", CONTAINERFILE)


def test_every_package_is_installed() -> None:
    """pyproject.toml lists each folder of ours that has modules."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["packages"]
    tops = {package.partition(".")[0] for package in listed}
    found = {path.parent.relative_to(ROOT) for top in tops for path in (ROOT / top).rglob("__init__.py")}
    assert {".".join(path.parts) for path in found} == set(listed)


def test_services_in_containers() -> None:
    """Each runs a command that there is, has few rights and time to stop; the trainer may have the GPU."""
    services = compose("compose.yaml")
    assert services.keys() == {"bot", "trainer", "postgres"}
    for name in ("bot", "trainer"):
        service = services[name]
        assert command(service["command"]) == name
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert int(service["stop_grace_period"].removesuffix("s")) > LONGEST_STOP[name]
        build = service["build"]
        assert (DEPLOY / build["context"] / build["dockerfile"]).samefile(DEPLOY / "Containerfile")
        (port,) = (value for key, value in service["environment"].items() if key.endswith("_PORT"))
        assert f"127.0.0.1:{port}/healthz" in service["healthcheck"]["test"][-1]
        assert service["healthcheck"]["test"][1] in f"{PROGRAM} /opt/retrainbot/.venv/bin/python".split()
    assert services["postgres"]["profiles"] == ["postgres"]
    gpu = compose("compose.yaml", "compose.gpu.yaml")
    (device,) = gpu["trainer"]["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    assert gpu["trainer"]["build"]["args"]["BUILD"] == "gpu"


def test_secrets_stay_out_of_git() -> None:
    """The files that a person makes beside these, with a token or a password, are ignored."""
    ignored = (ROOT / ".gitignore").read_text("utf-8").splitlines()
    content = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
    named = {content["services"]["bot"]["env_file"], content["secrets"]["postgres"]["file"]}
    assert {f"/deploy/{name}" for name in named} <= set(ignored)
