"""What commands show: runs, the state of things, classes and GPUs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bot.language import say
from bot.markup import ago, bar, fill, photos
from bot.pace import Pace
from bot.replies import percent
from serving.states import State
from storage.gpus import Gpu, GpuProcess, GpuReport
from storage.labels import shown
from storage.models import Version
from storage.photos import ClassCount
from storage.pointer import BOT, Served, StepBack
from storage.runs import Run, RunState
from storage.servings import ServingReport
from storage.slots import Outlook
from storage.texts import Text, read_text
from storage.usage import usage_line

MOST_NEW = 10  # Classes with new photos that are named; there may be hundreds.
MOST_CAPTION = 900  # Characters; Telegram allows 1,024 below a picture.
THIN = 10  # With fewer photos a class is learned badly, and its test photos are too few to tell.
STEPS = {
    "records": Text("collecting the photos"),
    "backbone": Text("loading the network"),
    "features": Text("looking at the photos"),
    "head": Text("learning the classes"),
    "network": Text("training the whole network"),
    "export": Text("writing the version"),
    "evaluate": Text("testing it on photos it has not seen"),
    "report": Text("writing the report"),
    "publish": Text("publishing it"),
}
COMING: dict[str, Text] = {
    State.NEW: Text("it is next"),
    State.LOADING: Text("it is being loaded"),
    State.WARMING: Text("it is warming up"),
    State.CHECKING: Text("it is being checked"),
}
MODES = {
    "head": Text("The last layer (minutes at most)"),
    "full": Text("The whole network (better, and slow)"),
    "scratch": Text("From nothing (many photos, very slow)"),
}
HOW_TO_TRAIN = Text(
    "What shall I train?\n\nIn words: <code>/train full epochs=10 time_budget=60</code>. Besides these there are"
    " backbone, batch_size, init_version, learning_rate, seed, steps and force."
)
BETTER, WORSE = Text("📈 Better: {classes}"), Text("📉 Worse: {classes}")
CANCEL, PROMOTE = Text("✕ Cancel"), Text("Serve it all the same")
PICTURES = Text("How the fit went, and what was taken for what on test photos")
HOW_TO_PROMOTE = Text("Say which version: <b>/promote 3</b>. /models lists them.")
HEARS = Text("I tell this chat of the runs that the schedule starts. /notify off ends it.")
HEARS_NO_MORE = Text("I tell this chat no more of scheduled runs.")
STALE = Text("That button no longer works.")
GPU_CHART = Text(
    "The last {hours} hours: solid lines say how busy the cards are, dashed ones how full their memory is."
)
DOES = {"training": Text("training"), "answering": Text("answering photos")}
MEMORY = Text("version {number} {size:.0f} MB")
RESTING_MEMORY = Text("version {number} (kept for a rollback) {size:.0f} MB")
SHORT = Text("⚠ I take no photos and train nothing: {reason}.")
NO_RUN = Text("No run is under way.")
NO_TRAINER = Text("No trainer has reported yet. Start one with <code>retrainbot run</code>.")


@dataclass(frozen=True)
class Status:
    """What /status tells."""

    served: Served | None
    accuracy: float | None  # Of the served version on its test photos, 0 to 1.
    serving: ServingReport
    classes: Sequence[ClassCount]
    new: Mapping[str, int]  # Photos of each class that came since it is served.
    run: Run | None
    failed: Run | None  # The last run, where it failed.
    outlook: Outlook
    trainers: Sequence[tuple[str, datetime, GpuReport]]
    used: Mapping[str, int]  # Bytes by the part of the data folder.
    free_bytes: int
    short: str | None  # That this is less than is to stay free.
    now: datetime


def run(state: Run, pace: Pace | None = None) -> str:
    """A run in the words that fit its state; the last of them is final."""
    match state.state:
        case RunState.QUEUED:
            if state.message:
                return fill("Run {id} waits: {reason}.", id=state.id, reason=state.message)
            return fill("Run {id} waits for the trainer.", id=state.id)
        case RunState.RUNNING:
            return _running(state, pace)
        case RunState.SUCCEEDED:
            return _succeeded(state)
        case RunState.FAILED:
            message = state.message or Text("The trainer's log says why.")
            return fill("Run {id} failed. {message}", id=state.id, message=message)
        case RunState.CANCELLED:
            return fill("Run {id} was cancelled. {message}", id=state.id, message=state.message or "")


def pictures(state: Run) -> str:
    """What stands below the pictures of a run, and the classes that they can only name by their number."""
    numbered: Mapping[str, str] = (state.result or {}).get("numbered") or {}
    lines = [say(PICTURES)]
    for number, name in numbered.items():
        line = fill("#{number} {name}", number=number, name=shown(name))
        if sum(map(len, lines)) + len(line) > MOST_CAPTION:
            return "\n".join([*lines, "…"])
        lines.append(line)
    return "\n".join(lines)


def already(state: Run) -> str:
    """The answer to /train while a run is under way."""
    return "\n".join([say("A run is under way already; I tell how it goes."), run(state)])


def cancelling(state: Run) -> str:
    """The answer to /cancel."""
    return run(state) if state.final else fill("Run {id} is being ended.", id=state.id)


def step_back(step: StepBack) -> str:
    """What a chat is told when the bot had to give a version up."""
    return fill(
        "⚠ I went back to <b>version {back}</b>: {reason}\nIts answers go on. To try version {before} once more:"
        " /promote {before}",
        back=step.served.version,
        reason=step.served.reason,
        before=step.before,
    )


def promoted(version: Version) -> str:
    return fill("<b>Version {number}</b> answers as soon as it has loaded.", number=version.number)


def unknown_option(name: str, options: Iterable[str]) -> str:
    return fill("“{name}” cannot be set here. There is: {options}.", name=name, options=", ".join(options))


def wrong_option(name: str, value: str) -> str:
    return fill("“{value}” cannot be the value of {name}.", value=value, name=name)


def unknown_mode(mode: str, modes: Iterable[str]) -> str:
    known = ", ".join(modes)
    return fill(
        "“{mode}” is not a way to train. There is: {known}. Try /train {first}.",
        mode=mode,
        known=known,
        first=next(iter(known.split(", "))),
    )


def status(state: Status) -> str:
    trainers = [fill("Trainer {seen}", seen=_seen(at, state.now)) for _, at, _ in state.trainers[:1]]
    total = sum(item.photos for item in state.classes)
    return "\n".join(
        [
            *_serving(state),
            fill("{photos} in {count} classes", photos=photos(total), count=len(state.classes)),
            *_new(state.new),
            run(state.run) if state.run else say(NO_RUN),
            *([run(state.failed)] if state.failed else []),
            *(fill("{line}", line=line) for line in state.outlook.lines()[:1]),
            *(trainers or [say(NO_TRAINER)]),
            *_memory_of(state.serving),
            fill("{line}", line=usage_line(state.used)),
            fill("{size:.1f} GB of disk left", size=state.free_bytes / 1e9),
            *([fill(SHORT, reason=state.short)] if state.short else []),
        ]
    )


def _new(counts: Mapping[str, int]) -> list[str]:
    most = sorted(counts.items(), key=lambda item: -item[1])
    told = [f"{shown(name)} {count}" for name, count in most[:MOST_NEW]]
    if len(most) > MOST_NEW:
        told.append(say("and {count} more", count=len(most) - MOST_NEW))
    return [fill("New since then: {classes}", classes=", ".join(told))] if told else []


def schedule(outlook: Outlook) -> str:
    return "\n".join(fill("{line}", line=line) for line in outlook.lines())


def classes(counts: Sequence[ClassCount]) -> list[str]:
    """A line for each class, thin ones marked."""
    if not counts:
        return [say("There are no photos yet. Send some with a caption, such as <b>daisy</b>.")]
    lines = [_class_line(item) for item in counts]
    thin = any(item.photos < THIN for item in counts)
    return [*lines, fill("⚠ fewer than {count} photos: send more of these.", count=THIN)] if thin else lines


def gpu(reports: Sequence[tuple[str, datetime, GpuReport]], now: datetime) -> str:
    """Each trainer's cards, or plainly that there is none."""
    return "\n\n".join(_host(host, at, report, now) for host, at, report in reports) or say(NO_TRAINER)


def _running(state: Run, pace: Pace | None) -> str:
    if state.step is None:
        return fill("Run {id} has begun.", id=state.id)
    step = fill("Run {id}: {step}", id=state.id, step=STEPS.get(state.step, state.step))
    if state.total <= 0:
        return step
    count = fill("{done} of {total}", done=state.done, total=state.total)
    lines = [step, f"<code>{bar(min(1.0, state.done / state.total))}</code> {count}"]
    return "\n".join([*lines, *([_pace(pace)] if pace else [])])


def _pace(pace: Pace) -> str:
    left = ago(pace.left)
    if pace.photos is None:
        return fill("about {left} left for this step", left=left)
    rate = f"{pace.photos:.0f}" if pace.photos >= 10 else f"{pace.photos:.1f}"
    return fill("about {left} left for this step, {rate} photos a second", left=left, rate=rate)


def _succeeded(state: Run) -> str:
    result = state.result or {}
    accuracy = (result.get("metrics") or {}).get("test_accuracy")
    made = {"id": state.id, "version": result.get("version", "?")}
    if accuracy is None:
        first = fill("Run {id} made <b>version {version}</b>.", **made)
    else:
        first = fill(
            "Run {id} made <b>version {version}</b>: right on {share} of its test photos.",
            share=percent(accuracy),
            **made,
        )
    reason = read_text(result.get("said") or result.get("reason") or "")
    if result.get("promoted"):
        verdict = fill("It answers as soon as it has loaded, because {reason}.", reason=reason)
    else:
        verdict = fill("It is kept, but not served, because {reason}.", reason=reason)
    return "\n".join([first, verdict, *_changes(BETTER, result.get("better")), *_changes(WORSE, result.get("worse"))])


def _changes(title: Text, changes: Sequence[Mapping[str, Any]] | None) -> list[str]:
    """A line that names the classes that changed, if any did."""
    told = [
        say(
            "{name} {before} → {after} of {photos}",
            name=shown(change["name"]),
            before=change["before"],
            after=change["after"],
            photos=change["photos"],
        )
        for change in changes or []
    ]
    return [fill(title, classes="; ".join(told))] if told else []


def _serving(state: Status) -> list[str]:
    if state.served is None:
        return [say("Nothing is served yet: send photos with captions, then /train.")]
    served = {"number": state.served.version, "time": f"{state.served.at:%Y-%m-%d %H:%M}"}
    if state.accuracy is None:
        lines = [fill("<b>Version {number}</b> since {time} UTC", **served)]
    else:
        lines = [
            fill(
                "<b>Version {number}</b> since {time} UTC, right on {share} of its test photos",
                share=percent(state.accuracy),
                **served,
            )
        ]
    if state.served.by == BOT:
        lines.append(fill("⚠ {reason}", reason=state.served.reason))
    if state.serving.problem:
        lines.append(fill("⚠ {problem}", problem=state.serving.problem))
    return [*lines, *_on_the_way(state.serving), *_waiting(state.serving)]


def _on_the_way(report: ServingReport) -> list[str]:
    coming = [version for version in report.versions if version.state in COMING]
    return [
        fill("Version {number} is on its way: {state}", number=version.number, state=COMING[version.state])
        for version in coming
    ]


def _waiting(report: ServingReport) -> list[str]:
    if not report.waiting:
        return []
    return [
        fill("{photos} of at most {most} wait for the model", photos=photos(report.waiting), most=report.most_waiting)
    ]


def _memory_of(report: ServingReport) -> list[str]:
    """A line on the memory of every version that is loaded, where it is known."""
    parts = [
        fill(
            RESTING_MEMORY if version.state == State.RESTING else MEMORY,
            number=version.number,
            size=version.memory_bytes / 1e6,
        )
        for version in report.versions
        if version.memory_bytes
    ]
    if report.standby_memory_bytes:
        parts.append(fill("standing by {size:.0f} MB", size=report.standby_memory_bytes / 1e6))
    return [fill("Memory: {parts}", parts=", ".join(parts))] if parts else []


def _seen(at: datetime, now: datetime) -> str:
    return say("seen {time} ago", time=ago((now - at).total_seconds()))


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
    return fill("No GPU. {problem}", problem=report.problem or Text("Training uses the CPU."))


def _card(card: Gpu) -> str:
    facts = [
        _memory(card),
        None if card.utilisation is None else say("{share}% busy", share=card.utilisation),
        None if card.temperature is None else f"{card.temperature} °C",
        None if card.power is None else f"{card.power:.0f} W",
    ]
    told = ", ".join(fact for fact in facts if fact) or say("It tells nothing about itself.")
    lines = [fill("GPU {index}: {name}", index=card.index, name=card.name), told]
    if card.slices is not None:
        lines.append(say("divided by MIG into {count} slices; a run uses one of them", count=card.slices))
    lines += map(_process, card.processes)
    return "\n".join(lines)


def _process(process: GpuProcess) -> str:
    does = DOES[process.does]
    if process.memory_used is None:
        return say("{does} (process {pid})", does=does, pid=process.pid)
    return say("{does} (process {pid}), {size:.1f} GB", does=does, pid=process.pid, size=process.memory_used / 1024)


def _memory(card: Gpu) -> str | None:
    if card.memory_total is None:
        return None
    total = card.memory_total / 1024
    if card.memory_used is None:
        return say("{total:.1f} GB memory", total=total)
    return say("{used:.1f} of {total:.1f} GB memory", used=card.memory_used / 1024, total=total)
