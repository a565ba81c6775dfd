"""The parent of `python -m trainer.trial`: starts it, waits as long as is reasonable, and keeps what it says."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from storage import lifeline

SECONDS = 180.0  # XLA and the driver may compile for a while.
TALKATIVE = {"TF_CPP_MIN_LOG_LEVEL": "0"}  # What it says only there explains why a card is not used.


@dataclass(frozen=True)
class Trial:
    """What it did, by step, what it wrote on its standard error, and its exit status; None where it took too long."""

    steps: Mapping[str, Any]
    said: str
    code: int | None
    seconds: float = SECONDS

    def last_words(self) -> str:
        lines = self.said.strip().splitlines()
        return lines[-1].strip() if lines else f"it ended with status {self.code}."


def attempt(command: Sequence[str] = tuple(lifeline.child("trainer.trial")), timeout: float = SECONDS) -> Trial:
    """Takes seconds: it starts TensorFlow."""
    environment = {**lifeline.environment(), **TALKATIVE, lifeline.VARIABLE: "1"}
    code: int | None
    with lifeline.held() as held:
        try:
            done = subprocess.run(
                command, stdin=held, env=environment, capture_output=True, timeout=timeout, check=False
            )
            out, said, code = done.stdout, done.stderr, done.returncode
        except subprocess.TimeoutExpired as late:
            out, said, code = late.stdout or b"", late.stderr or b"", None
    return Trial(_steps(out), said.decode("utf-8", "replace"), code, timeout)


def _steps(out: bytes) -> dict[str, Any]:
    steps = {}
    for line in out.decode("utf-8", "replace").splitlines():
        try:
            told = json.loads(line)
        except ValueError:  # Something that a library printed, or a line that was cut off.
            continue
        if isinstance(told, dict) and "step" in told:
            steps[told["step"]] = told
    return steps
