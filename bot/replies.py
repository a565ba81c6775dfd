"""What the bot says to photos, taps and words. What commands show is in reports."""

import errno
from collections.abc import Sequence
from dataclasses import dataclass

from bot.markup import bar, fill, photos
from bot.predictor import Prediction
from storage.errors import RetrainbotError
from storage.labels import shown
from storage.photos import Outcome, Receipt

COMMANDS = {
    "help": "what I can do",
    "train": "learn from the photos: /train or /train head",
    "status": "what answers now, and what is going on",
    "classes": "the classes and how many photos each has",
    "gpu": "the computer that trains",
}

NOTHING_LEARNED = (
    "I have learned nothing yet. Send photos with a caption, such as <b>daisy</b>, for at least two classes;"
    " then send /train."
)
HINT = "Send me a photo and I say what it shows. With a caption, such as <b>daisy</b>, it teaches me. /help says more."
UNKNOWN_PHOTO = "I do not know which photo you mean. Reply to the photo itself with its class, or send it again."
# These are shown as plain text, in the little window that a tap opens.
STALE_BUTTON = "That button no longer works."
LOST_PHOTO = "I cannot see that photo any more. Send it again."
UNEXPECTED = "Something went wrong on my side, and is in the log. Please send that again."

# What the system calls a disk that takes nothing more from us.
DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST}


@dataclass(frozen=True)
class Refused:
    """A photo of an album that could not be used: its place, from 1, and the reason."""

    place: int
    reason: str


def greeting(user: int, *, allowed: bool) -> str:
    """The answer to /help and /start."""
    if not allowed:
        return f"I tell photos apart, and people teach me how.\n\n{refusal(user)}"
    commands = "\n".join(fill("/{name}: {meaning}", name=name, meaning=text) for name, text in COMMANDS.items())
    return (
        "A <b>photo</b>: I say what it shows.\n"
        "A photo <b>with a caption</b>: I learn it as that class.\n"
        "An <b>album</b> with one caption: I learn all of it.\n"
        "A <b>reply</b> to a photo with a class name: I learn it as that class.\n\n"
        f"{commands}\n\nYour id is {user}."
    )


def refusal(user: int) -> str:
    return f"Your id is {user}; ask the owner to add it to telegram.users in config.toml."


def error(error: BaseException | None) -> str:
    """What to tell of an error, as plain text: its own words where a person can mend it."""
    if isinstance(error, RetrainbotError):
        return str(error)
    if isinstance(error, OSError) and error.errno in DISK:
        return (
            f"There is no room or no right to write on the computer that I run on ({error.strerror})."
            " Tell its owner, and send that again afterwards."
        )
    return UNEXPECTED


def wrong(message: str) -> str:
    """An error in its own words."""
    return fill("{message}", message=message)


def answer(prediction: Prediction, top_k: int, sure_above: float) -> str:
    """The likeliest classes, a line each."""
    ranked = prediction.ranked()[:top_k]
    best, share = ranked[0]
    lines = [fill("<b>{name}</b>", name=shown(best)) if share >= sure_above else "Not sure."]
    lines += [
        fill("<code>{bar} {share}</code> {name}", bar=bar(share), share=percent(share).rjust(4), name=shown(name))
        for name, share in ranked
    ]
    return "\n".join([*lines, f"Version {prediction.version}"])


def album_answer(predictions: Sequence[Prediction | Refused], sure_above: float) -> str:
    """A line for each photo, and the versions that said so."""
    lines = [
        _refused(item) if isinstance(item, Refused) else _brief(place, item, sure_above)
        for place, item in enumerate(predictions, start=1)
    ]
    versions = sorted({item.version for item in predictions if isinstance(item, Prediction)})
    said = [f"Version {' and '.join(map(str, versions))}"] if versions else []
    return "\n".join([*lines, *said])


def percent(share: float) -> str:
    return "<1%" if 0 < share < 0.005 else f"{share:.0%}"


def receipt(done: Receipt) -> str:
    """What became of a labelled photo."""
    name, count = shown(done.class_name), photos(done.class_photos)
    if done.outcome is Outcome.DUPLICATE:
        return fill("I have this photo under <b>{name}</b> already ({count}).", name=name, count=count)
    if done.outcome is Outcome.MOVED:
        return fill(
            "Moved from <b>{before}</b> to <b>{name}</b>, which has {count} now.",
            before=shown(done.before or ""),
            name=name,
            count=count,
        )
    return fill("Learned as <b>{name}</b>, which has {count} now.", name=name, count=count)


def known(done: Receipt) -> str:
    """That a photo is in the class already, as plain text."""
    return f"I have this photo under “{shown(done.class_name)}” already."


def album_receipt(name: str, done: Sequence[Receipt], refused: Sequence[Refused]) -> str:
    """One receipt for all photos of an album."""
    count = {outcome: sum(item.outcome is outcome for item in done) for outcome in Outcome}
    total = max((item.class_photos for item in done), default=0)
    lines = []
    if count[Outcome.ADDED] or not done:
        lines.append(fill("{count} learned as <b>{name}</b>.", count=photos(count[Outcome.ADDED]), name=shown(name)))
    if count[Outcome.MOVED]:
        origins = ", ".join(sorted({shown(item.before) for item in done if item.before}))
        lines.append(fill("{count} moved there from {origins}.", count=photos(count[Outcome.MOVED]), origins=origins))
    if count[Outcome.DUPLICATE]:
        lines.append(f"{photos(count[Outcome.DUPLICATE])} there already.")
    lines += [_refused(item) for item in refused]
    if done:
        lines.append(fill("<b>{name}</b> has {count} now.", name=shown(name), count=photos(total)))
    return "\n".join(lines)


def undone(done: Sequence[Receipt], failed: Sequence[str]) -> str:
    """What became of photos whose change was taken back, and why others' was not."""
    back = sorted({shown(item.class_name) for item in done if item.class_name})
    out = sum(not item.class_name for item in done)
    lines = [f"Undone: {photos(out)} taken out again."] if out else []
    if back:
        count = photos(len(done) - out)
        lines.append(fill("Undone: {count} back in <b>{names}</b>.", count=count, names=", ".join(back)))
    return "\n".join([*lines, *(wrong(reason) for reason in sorted(set(failed)))])


def _brief(place: int, prediction: Prediction, sure_above: float) -> str:
    name, share = prediction.ranked()[0]
    doubt = "" if share >= sure_above else "not sure, perhaps "
    return fill(
        "{place}. {doubt}<b>{name}</b> {share}", place=place, doubt=doubt, name=shown(name), share=percent(share)
    )


def _refused(item: Refused) -> str:
    return fill("{place}. not used: {reason}", place=item.place, reason=item.reason)
