"""What commands show: runs, the state of things, classes and GPUs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from bot.markup import ago, bar, fill, photos
from bot.replies import percent
from serving.states import State
from storage.gpus import Gpu, GpuReport
from storage.labels import shown
from storage.photos import ClassCount
from storage.pointer import BOT, Served, StepBack
from storage.runs import Run, RunState
from storage.servings import ServingReport
from storage.slots import Outlook

THIN = 10  # With fewer photos a class is learned badly, and its test photos are too few to tell.
STEPS = {
    "records": "collecting the photos",
    "backbone": "loading the network",
    "features": "looking at the photos",
    "head": "learning the classes",
    "network": "training the whole network",
    "export": "writing the version",
    "evaluate": "testing it on photos it has not seen",
    "report": "writing the report",
    "publish": "publishing it",
}
COMING: dict[str, str] = {
    State.NEW: "it is next",
    State.LOADING: "it is being loaded",
    State.WARMING: "it is warming up",
    State.CHECKING: "it is being checked",
}
NO_RUN = "No run is under way."
NO_TRAINER = "No trainer has reported yet. Start one with <code>retrainbot run</code>."


@dataclass(frozen=True)
class Status:
    """What /status tells."""

    served: Served | None
    accuracy: float | None  # Of the served version on its test photos, 0 to 1.
    serving: ServingReport
    classes: Sequence[ClassCount]
    run: Run | None
    trainers: Sequence[tuple[str, datetime, GpuReport]]
    free_bytes: int
    now: datetime


def run(state: Run) -> str:
    """A run in the words that fit its state; the last of them is final."""
    match state.state:
        case RunState.QUEUED:
            return f"Run {state.id} waits for the trainer."
        case RunState.RUNNING:
            return _running(state)
        case RunState.SUCCEEDED:
            return _succeeded(state)
        case RunState.FAILED:
            return fill(
                "Run {id} failed. {message}", id=state.id, message=state.message or "The trainer's log says why."
            )
        case RunState.CANCELLED:
            return fill("Run {id} was cancelled. {message}", id=state.id, message=state.message or "")


def already(state: Run) -> str:
    """The answer to /train while a run is under way."""
    return f"A run is under way already; I tell how it goes.\n{run(state)}"


def cancelling(state: Run) -> str:
    """The answer to /cancel."""
    return run(state) if state.final else f"Run {state.id} is being ended."


def step_back(step: StepBack) -> str:
    """What a chat is told when the bot had to give a version up."""
    return fill(
        "⚠ I went back to <b>version {back}</b>: {reason}\nIts answers go on. To try version {before} once more, type"
        " <code>retrainbot promote {before}</code>.",
        back=step.served.version,
        reason=step.served.reason,
        before=step.before,
    )


def unknown_mode(mode: str, modes: Iterable[str]) -> str:
    known = ", ".join(modes)
    return fill(
        "“{mode}” is not a way to train. There is: {known}. Try /train {first}.",
        mode=mode,
        known=known,
        first=next(iter(known.split(", "))),
    )


def status(state: Status) -> str:
    trainers = [f"Trainer {_seen(at, state.now)}" for _, at, _ in state.trainers[:1]] or [NO_TRAINER]
    total = sum(item.photos for item in state.classes)
    return "\n".join(
        [
            *_serving(state),
            f"{photos(total)} in {len(state.classes)} classes",
            run(state.run) if state.run else NO_RUN,
            *trainers,
            *_memory_of(state.serving),
            f"{state.free_bytes / 1e9:.1f} GB of disk left",
        ]
    )


def schedule(outlook: Outlook) -> str:
    return "\n".join(fill("{line}", line=line) for line in outlook.lines())


def classes(counts: Sequence[ClassCount]) -> list[str]:
    """A line for each class, thin ones marked."""
    if not counts:
        return ["There are no photos yet. Send some with a caption, such as <b>daisy</b>."]
    lines = [_class_line(item) for item in counts]
    thin = any(item.photos < THIN for item in counts)
    return [*lines, f"⚠ fewer than {THIN} photos: send more of these."] if thin else lines


def gpu(reports: Sequence[tuple[str, datetime, GpuReport]], now: datetime) -> str:
    """Each trainer's cards, or plainly that there is none."""
    return "\n\n".join(_host(host, at, report, now) for host, at, report in reports) or NO_TRAINER


def _running(state: Run) -> str:
    if state.step is None:
        return f"Run {state.id} has begun."
    step = fill("Run {id}: {step}", id=state.id, step=STEPS.get(state.step, state.step))
    if state.total <= 0:
        return step
    return f"{step}\n<code>{bar(min(1.0, state.done / state.total))}</code> {state.done} of {state.total}"


def _succeeded(state: Run) -> str:
    result = state.result or {}
    accuracy = (result.get("metrics") or {}).get("test_accuracy")
    right = "" if accuracy is None else f": right on {percent(accuracy)} of its test photos"
    verdict = "It answers from now on" if result.get("promoted") else "It is kept, but not served"
    return fill(
        "Run {id} made <b>version {version}</b>{right}.\n{verdict}, because {reason}.",
        id=state.id,
        version=result.get("version", "?"),
        right=right,
        verdict=verdict,
        reason=result.get("reason", "the trainer said so"),
    )


def _serving(state: Status) -> list[str]:
    if state.served is None:
        return ["Nothing is served yet: send photos with captions, then /train."]
    since = f"{state.served.at:%Y-%m-%d %H:%M} UTC"
    right = "" if state.accuracy is None else f", right on {percent(state.accuracy)} of its test photos"
    lines = [f"<b>Version {state.served.version}</b> since {since}{right}"]
    if state.served.by == BOT:
        lines.append(fill("⚠ {reason}", reason=state.served.reason))
    if state.serving.problem:
        lines.append(fill("⚠ {problem}", problem=state.serving.problem))
    return [*lines, *_on_the_way(state.serving), *_waiting(state.serving)]


def _on_the_way(report: ServingReport) -> list[str]:
    coming = [version for version in report.versions if version.state in COMING]
    return [f"Version {version.number} is on its way: {COMING[version.state]}" for version in coming]


def _waiting(report: ServingReport) -> list[str]:
    return [f"{photos(report.waiting)} of at most {report.most_waiting} wait for the model"] if report.waiting else []


def _memory_of(report: ServingReport) -> list[str]:
    """A line on the memory of every version that is loaded, where it is known."""
    parts = [
        f"version {version.number}{' (kept for a rollback)' if version.state == State.RESTING else ''}"
        f" {version.memory_bytes / 1e6:.0f} MB"
        for version in report.versions
        if version.memory_bytes
    ]
    if report.standby_memory_bytes:
        parts.append(f"standing by {report.standby_memory_bytes / 1e6:.0f} MB")
    return [f"Memory: {', '.join(parts)}"] if parts else []


def _seen(at: datetime, now: datetime) -> str:
    return f"seen {ago((now - at).total_seconds())} ago"


def _class_line(item: ClassCount) -> str:
    mark = " ⚠" if item.photos < THIN else ""
    return fill("<b>{name}</b> {count}{mark}", name=shown(item.name), count=item.photos, mark=mark)


def _host(host: str, at: datetime, report: GpuReport, now: datetime) -> str:
    title = fill("<b>{host}</b>, {seen}", host=host, seen=_seen(at, now))
    driver = [fill("Driver {driver}", driver=report.driver)] if report.driver else []
    cards = [_card(card) for card in report.gpus] or [_without_gpu(report)]
    tensorflow = [fill("{tensorflow}", tensorflow=report.tensorflow)] if report.tensorflow else []
    return "\n".join([title, *cards, *driver, *tensorflow])


def _without_gpu(report: GpuReport) -> str:
    return fill("No GPU. {problem}", problem=report.problem or "Training uses the CPU.")


def _card(card: Gpu) -> str:
    facts = [
        _memory(card),
        None if card.utilisation is None else f"{card.utilisation}% busy",
        None if card.temperature is None else f"{card.temperature} °C",
        None if card.power is None else f"{card.power:.0f} W",
    ]
    return fill(
        "GPU {index}: {name}\n{facts}",
        index=card.index,
        name=card.name,
        facts=", ".join(fact for fact in facts if fact) or "It tells nothing about itself.",
    )


def _memory(card: Gpu) -> str | None:
    if card.memory_total is None:
        return None
    used = "" if card.memory_used is None else f"{card.memory_used / 1024:.1f} of "
    return f"{used}{card.memory_total / 1024:.1f} GB memory"
