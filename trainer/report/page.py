"""A run's report for people who photograph things: have I labelled enough, and why is it wrong?"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from storage.labels import shown
from storage.runs import RunOptions
from storage.splits import Split
from trainer.report.facts import ENOUGH, Facts, Score

CURVES, CONFUSION, MISTAKES = "curves.png", "confusion.png", "mistakes.jpg"
NAMED = 10  # Classes and mix-ups named in words; there may be hundreds.
# What Markdown, or HTML in it, would take for its own within a line.
_ACTIVE = re.compile(r"([\\`*_\[\]<>|&~#$])")
_MODES = {
    "head": "only the last layer of the network",
    "full": "the whole network, from what it could already",
    "scratch": "the whole network, from nothing",
}


def markdown(facts: Facts, pictures: Collection[str]) -> str:
    """The report; `pictures` are the names of those that lie beside it."""
    sections: Mapping[str, Iterable[str]] = {
        "Have I labelled enough?": _enough(facts),
        "Why is it wrong?": _wrong(facts, pictures),
        "What it learnt from": _data(facts),
        "Each class": _classes(facts),
        "How sure it is": _sureness(facts),
        "How it was trained": _training(facts, pictures),
        "Where the time went": _table(("step", "seconds"), [(name, f"{n:.1f}") for name, n in facts.seconds.items()]),
    }
    parts = [*_opening(facts)]
    for title, paragraphs in sections.items():
        parts += [f"## {title}", *paragraphs]
    return "\n\n".join(parts) + "\n"


def _opening(facts: Facts) -> Iterator[str]:
    share = "untested" if facts.accuracy is None else f"{facts.accuracy:.0%} of answers right"
    yield f"# Version {facts.version}: {share}"
    outcome = "is served" if facts.verdict.promoted else "is kept, but not served"
    yield f"Version {facts.version} {outcome}, because {_safe(facts.verdict.reason)}."


def _enough(facts: Facts) -> Iterator[str]:
    yield _tested(facts)
    thin = sorted((score for score in facts.scores if score.missing), key=lambda score: -score.missing)
    if thin:
        yield f"These classes have fewer than {ENOUGH} photos. More photos of them help most:"
        yield _list([f"{_name(score)} has {score.total}: {score.missing} more" for score in thin], "classes")
    else:
        yield f"Every class has {ENOUGH} photos or more. What helps now is photos of what it mixes up: see below."
    untested = [score for score in facts.scores if not score.judged]
    if untested and len(untested) < len(facts.scores):
        names = ", ".join(map(_name, untested[:NAMED]))
        more = f" and {len(untested) - NAMED} more" if len(untested) > NAMED else ""
        yield f"No test photo tells how well it knows {names}{more}; a class gets its first with its third photo."


def _tested(facts: Facts) -> str:
    likely = facts.likely_accuracy
    if likely is None:
        return (
            "There are no test photos yet, so nobody knows how good it is. A class gets its first with its third photo."
        )
    return (
        f"It was tested on {_count(facts.judged, 'photo')} that it had not learnt from; {facts.right:,} answers were"
        f" right. With so many test photos, expect {likely[0]:.0%} to {likely[1]:.0%} of new photos like these to be"
        " answered rightly. More photos, of which every tenth is kept for testing, make that range narrower."
    )


def _wrong(facts: Facts, pictures: Collection[str]) -> Iterator[str]:
    if not facts.mistakes:
        yield "No test photo was answered wrongly." if facts.judged else "Nothing was tested."
    else:
        yield f"{len(facts.mistakes):,} of {_count(facts.judged, 'photo')} were taken for another class:"
        names = [_name(score) for score in facts.scores]
        told = [
            f"{names[pair.truth]} was taken for {names[pair.answer]} {pair.count} of {_count(pair.judged, 'time')}"
            for pair in facts.mix_ups
        ]
        yield _list(told, "mix-ups")
        yield (
            "Look at the wrong answers first. Is a photo in the wrong class? Then correct its label in the chat. Is it"
            " in the right one? Then send more photos of both classes that show what tells them apart."
        )
    yield from _picture(MISTAKES, "The wrong answers that it was surest of", pictures)
    yield from _picture(CONFUSION, "What was taken for what", pictures)


def _data(facts: Facts) -> Iterator[str]:
    counts, classes = facts.split_counts, len(facts.data.classes)
    yield (
        f"{_count(len(facts.data), 'photo')} of {classes:,} classes: {counts[Split.TRAIN]:,} to learn from,"
        f" {counts[Split.VALIDATION]:,} to choose settings by, and {counts[Split.TEST]:,} kept for testing."
        f" This choice of photos is snapshot `{facts.data.id}`."
    )
    changes = facts.changes
    if changes is None:
        known = (
            "which photos it was made of is not known any more" if facts.served_version else "nothing was served before"
        )
        yield f"What changed cannot be said: {known}."
        return
    yield (
        f"Since version {facts.served_version}, {_count(changes.added, 'photo')} came, {changes.removed:,} went,"
        f" and {changes.relabelled:,} got another class."
    )
    for title, names in (("New classes", changes.classes_added), ("Classes that went", changes.classes_removed)):
        if names:
            yield f"{title}:"
            yield _list([f"**{_safe(shown(name))}**" for name in names], "classes")


def _classes(facts: Facts) -> Iterator[str]:
    yield (
        "The weakest first. *Found*: of its test photos, those that were recognised (recall). *Trusted*: of the answers"
        " that named it, those that were right (precision). *F1* sums both up. *Weight*: what one of its photos counted"
        " for in training, to make up for classes with few photos."
    )
    head = ("#", "class", "photos", "learnt from", "test photos", "found", "trusted", "F1", "weight")
    weakest = sorted(facts.scores, key=lambda score: (score.f1 is None, score.f1, score.number))
    yield from _table(head, map(_row, weakest))


def _row(score: Score) -> tuple[str, ...]:
    shares = map(_percent, (score.recall, score.precision, score.f1))
    counts = (score.total, score.photos[Split.TRAIN], score.judged)
    return (f"{score.number}", _safe(shown(score.name)), *map(str, counts), *shares, f"{score.weight:.2f}")


def _sureness(facts: Facts) -> Iterator[str]:
    calibration, tested = facts.calibration, facts.reliability
    if calibration is None or calibration.sure_above is None:
        yield "There were no photos by which to find out how far its percentages can be trusted."
        return
    if calibration.sure_above < 1:
        yield f"It says “not sure” where its best answer is below {calibration.sure_above:.0%}."
    else:
        yield "It always says “not sure”: too few of its answers are right, or it was given too few photos to show it."
    if tested is None:
        return
    yield f"It was sure of {tested.sure_share:.0%} of the test photos" + (
        "." if tested.sure_precision is None else f", and {tested.sure_precision:.0%} of those were right."
    )
    yield (
        f"On the test photos its percentages were {100 * tested.ece_before:.1f} points off what came true, on average,"
        f" before they were put right, and {100 * tested.ece_after:.1f} points after (expected calibration error;"
        f" temperature {calibration.temperature:.2f})."
    )


def _training(facts: Facts, pictures: Collection[str]) -> Iterator[str]:
    options = facts.run.options
    rows = {
        "trained": _MODES[options.mode],
        "network": facts.network or options.backbone,
        "it started from": _start(options),
        "seed": options.seed,
        "asked for by": facts.run.requested_by,
        **facts.details,
    }
    if facts.curve:
        rows[f"kept {facts.curve.unit}"] = f"{facts.curve.points[facts.curve.best].at:.4g}"
    yield from _table(("", ""), [(_safe(name), _safe(str(value))) for name, value in rows.items()])
    yield from _picture(CURVES, "How the fit went", pictures)


def _start(options: RunOptions) -> str:
    if options.mode == "scratch":
        return "random weights"
    full_from = options.init_version if options.mode == "full" else None
    return options.weights if full_from is None else f"version {full_from}"


def _picture(name: str, title: str, pictures: Collection[str]) -> Iterator[str]:
    if name in pictures:
        yield f"![{title}]({name})"


def _list(lines: Sequence[str], things: str) -> str:
    """At most ten lines. A name that is their head is in bold type, or a dash before it would begin another list."""
    more = [f"and {len(lines) - NAMED:,} more {things}"] if len(lines) > NAMED else []
    return "\n".join(f"- {line}" for line in [*lines[:NAMED], *more])


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    lines = [head, ["---"] * len(head), *rows]
    yield "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _name(score: Score) -> str:
    return f"**{_safe(shown(score.name))}**"


def _safe(text: str) -> str:
    """The text as it is, on one line, whatever it would mean in Markdown or HTML."""
    return _ACTIVE.sub(r"\\\1", " ".join(text.split()))


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.0%}"


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
