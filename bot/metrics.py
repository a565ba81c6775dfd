"""What the bot counts and measures. docs/monitoring.md says what each figure is good for.

No label has the name of a class, a person or a chat: there may be any number of them, and they are nobody's business.
"""

from collections import deque

from prometheus_client import CollectorRegistry, Counter, Histogram

from storage.inbox import Lane
from storage.receipts import Outcome

REGISTRY = CollectorRegistry()
# What becomes of photos that come: all but the first are refused.
KEPT, NOT_DECODED, TOO_LARGE = "kept", "not decoded", "too large"
TOO_MANY, NO_PHOTO, LOST = "too many", "no photo", "lost"
MOST_VERSIONS = 20  # So many versions have a line of their own; the oldest go.
UPDATE_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600)
MODEL_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

UPDATES = Counter("retrainbot_updates", "Updates that Telegram handed out.", registry=REGISTRY)
UPDATE_SECONDS = Histogram(
    "retrainbot_update_seconds",
    "From the arrival of an update until it was worked and answered, by lane.",
    ["lane"],
    buckets=UPDATE_BUCKETS,
    registry=REGISTRY,
)
PUT_OFF = Counter("retrainbot_updates_put_off", "Tries that failed for now and are made again.", registry=REGISTRY)
FAILED = Counter("retrainbot_updates_failed", "Updates that ended in an unexpected error.", registry=REGISTRY)
PHOTOS = Counter("retrainbot_photos", "Photos that came, and what became of them.", ["outcome"], registry=REGISTRY)
LABELLED = Counter("retrainbot_photos_labelled", "Photos put into a class, or not.", ["outcome"], registry=REGISTRY)
ANSWERS = Counter(
    "retrainbot_answers", "Photos that a version answered for, and whether it was sure.", ["version", "sure"],
    registry=REGISTRY,
)  # fmt: skip
MODEL_SECONDS = Histogram(
    "retrainbot_model_seconds",
    "From a question to the model until its answer, the wait included.",
    buckets=MODEL_BUCKETS,
    registry=REGISTRY,
)
BUSY = Counter("retrainbot_model_busy", "Photos that the model had no time for.", registry=REGISTRY)
SWAPS = Counter("retrainbot_swaps", "Versions that began to answer.", registry=REGISTRY)
DEATHS = Counter("retrainbot_server_deaths", "Model servers that died while they answered.", registry=REGISTRY)
GIVEN_UP = Counter("retrainbot_versions_given_up", "Versions that could not be used.", registry=REGISTRY)

# What may happen is told as nought from the start, so that a first time is seen as a rise.
for _lane in Lane:
    UPDATE_SECONDS.labels(_lane)
for _outcome in (KEPT, NOT_DECODED, TOO_LARGE, TOO_MANY, NO_PHOTO, LOST):
    PHOTOS.labels(_outcome)
for _labelled in Outcome:
    LABELLED.labels(_labelled.value)

_versions: deque[int] = deque()


def answered(version: int, *, sure: bool) -> None:
    """Count an answer of this version."""
    if version not in _versions:
        _versions.append(version)
        if len(_versions) > MOST_VERSIONS:
            oldest = _versions.popleft()
            for was_sure in ("yes", "no"):
                ANSWERS.remove(str(oldest), was_sure)
        for was_sure in ("yes", "no"):  # Both are there from the start, so that rates can be told.
            ANSWERS.labels(str(version), was_sure)
    ANSWERS.labels(str(version), "yes" if sure else "no").inc()
