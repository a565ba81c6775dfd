"""What the bot says to photos, taps and words. What commands show is in reports."""

import errno
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bot.language import say
from bot.markup import ago, bar, fill, photos
from bot.predictor import Prediction
from storage.errors import RetrainbotError
from storage.history import Changed, Undone
from storage.labels import Caption, shown
from storage.receipts import Labelled, Outcome
from storage.texts import Text

NONE, BACK = "none", "back"  # Ways to other buttons; a number is that of a page.
COMMANDS = {
    "help": Text("what I can do"),
    "label": Text("in reply to a photo: /label daisy"),
    "undo": Text("take back what you did last, or /undo 3"),
    "show": Text("/show daisy: the photos of a class"),
    "classes": Text("the classes and how many photos each has"),
    "rename": Text("/rename daisy = ox-eye daisy"),
    "merge": Text("/merge daisies = daisy: all photos of one class to another"),
    "delete": Text("/delete daisy, or in reply to a photo: out of its class"),
    "withdraw": Text("take back all photos that you gave"),
    "train": Text("learn from the photos: /train, or /train head, full or scratch"),
    "cancel": Text("end the training that is under way"),
    "notify": Text("tell this chat of scheduled training; /notify off ends it"),
    "status": Text("what answers now, and what is going on"),
    "schedule": Text("when I train by myself, and what became of it last time"),
    "models": Text("the versions, and what they are worth"),
    "mistakes": Text("the test photos that are answered wrongly"),
    "compare": Text("/compare 3 5: what the one version knows better than the other"),
    "promote": Text("/promote 5: let this version answer"),
    "rollback": Text("let the version before answer again"),
    "gpu": Text("the computer that trains"),
    "listen": Text("in a group: which photos I look at"),
    "people": Text("who may do what"),
}

NOTHING_LEARNED = Text(
    "I have learned nothing yet. Send photos with a caption, such as <b>daisy</b>, for at least two classes;"
    " then send /train."
)
HINT = Text(
    "Send me a photo and I say what it shows. With a caption, such as <b>daisy</b>, it teaches me. /help says more."
)
LINK = Text("I fetch nothing from the web. Send the photo itself.")
NOTHING_KNOWN = Text("None of the things I know.")
NO_PHOTO = Text("I can only use photos: JPEG, PNG or WebP, also sent as a file.")
UNKNOWN_PHOTO = Text("I do not know which photo you mean. Reply to the photo itself with its class, or send it again.")
HOW_TO_LABEL = Text("Reply to a photo with /label and its class, such as <b>/label daisy</b>.")
HOW_TO_RENAME = Text("Say which class gets which name: <b>/rename daisy = ox-eye daisy</b>.")
HOW_TO_MERGE = Text(
    "Say which class goes into which: <b>/merge daisies = daisy</b> moves all photos of daisies to daisy."
)
HOW_TO_DELETE = Text(
    "Reply to a photo with /delete to take it out of its class, or name a class to empty: <b>/delete daisy</b>."
)
LATE_PHOTO = Text("More of this album has come. Which class is it? What came late is not stored yet.")
DIFFERENT_CAPTIONS = Text("The photos of this album have different captions. Which class is it? Nothing is stored yet.")
NONE_OF_THESE = Text(
    "What is it, then? <b>Reply to this message</b> with its class, in a word or two. The button is for photos that"
    " show nothing worth learning."
)
GROUP_ONLY = Text("That works in a group only: send it there.")
HOW_TO_LISTEN = Text(
    "<code>/listen all</code>: I look at every photo of this group.\n"
    "<code>/listen mentions</code>: only at those that are meant for me: with my name or a #hashtag in the caption, or"
    " in reply to me."
)
LISTENS = Text("I look at every photo of this group now.")
LISTENS_TO_MENTIONS = Text(
    "I look only at photos that are meant for me now: with my name or a #hashtag in the caption, or in reply to me."
)
NOTHING_GIVEN = Text("No photo in the classes is from you.")
LEFT_ALONE = Text("Left as it was.")
SLOW = Text(
    "Something keeps me from this at the moment: Telegram, or the disk of the computer that I run on."
    " I keep trying; nothing needs to be sent again."
)
FULL = Text(
    "The disk of the computer that I run on is full, so I take no photos at the moment. Nothing is lost, and nothing"
    " needs to be sent again: I go on with what you sent as soon as there is room. Please tell whoever owns it."
)
GIVEN_UP = Text("I could not do this though I tried for a day. Please send it again.")
# These stand on buttons, or are shown in the little window that a tap opens: plain text.
UNDO, YES, NO = Text("↩ Undo"), Text("Yes"), Text("No")
STALE_BUTTON = Text("That button no longer works.")
UNEXPECTED = Text("Something went wrong on my side, and is in the log. Please send that again.")

# What the system calls a disk that takes nothing more from us.
DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST}


HOW = Text(
    "A <b>photo</b>: I say what it shows.\n"
    "A photo <b>with a caption</b>: I learn it as that class.\n"
    "An <b>album</b> with one caption: I learn all of it.\n"
    "A <b>reply</b> to a photo with a class name: I learn it as that class."
)


@dataclass(frozen=True)
class Refused:
    """A photo of an album that could not be used: its place, from 1, and the reason."""

    place: int
    reason: str


def greeting(user: int, commands: Mapping[str, str]) -> str:
    """The answer to /help and /start of somebody who may use these commands."""
    listed = "\n".join(fill("/{name}: {meaning}", name=name, meaning=text) for name, text in commands.items())
    return "\n\n".join([say(HOW), listed, fill("Your id is {user}.", user=user)])


def stranger(refusal: str) -> str:
    """The answer to /help and /start of somebody who was not let in."""
    return fill("I tell photos apart, and people teach me how.\n\n{refusal}", refusal=refusal)


def late(seconds: float) -> str:
    """The excuse for an answer that took long."""
    return fill("⏳ Sorry, this waited for {time}; I was away.", time=ago(seconds))


def error(error: BaseException | None) -> Text:
    """What to tell of an error, as plain text: its own words where a person can mend it."""
    if isinstance(error, RetrainbotError):
        return error.text
    if isinstance(error, OSError) and error.errno in DISK:
        return Text(
            "There is no room or no right to write on the computer that I run on ({problem}). Tell its owner, and send"
            " that again afterwards.",
            problem=error.strerror,
        )
    return UNEXPECTED


def wrong(message: str) -> str:
    """An error in its own words."""
    return fill("{message}", message=message)


def answer(prediction: Prediction, top_k: int) -> str:
    """The likeliest classes, a line each."""
    lines = [
        fill("<code>{bar} {share}</code> {name}", bar=bar(share), share=percent(share).rjust(4), name=shown(name))
        for name, share in prediction.ranked()[:top_k]
    ]
    return "\n".join([_verdict(prediction), *lines, fill("Version {number}", number=prediction.version)])


def album_answer(predictions: Mapping[int, Prediction | Text]) -> str:
    """A line for each photo by its place, and the versions that said so."""
    lines = [
        fill("{place}. {reason}", place=place, reason=item) if isinstance(item, Text) else _brief(place, item)
        for place, item in predictions.items()
    ]
    versions = sorted({item.version for item in predictions.values() if isinstance(item, Prediction)})
    said = [fill("Version {number}", number=", ".join(map(str, versions)))] if versions else []
    return "\n".join([*lines, *said])


def percent(share: float) -> str:
    return "<1%" if 0 < share < 0.005 else f"{share:.0%}"


def unclear(problem: str) -> str:
    """That words name no class clearly, and what to do."""
    return fill("Nothing is stored yet: reply with the class, please. {problem}", problem=problem)


def no_class(caption: Caption, answer: str) -> str:
    """An answer to a photo whose caption names no class; whoever did not ask a question is told why."""
    return answer if caption.asks else "\n\n".join([unclear(caption.problem), answer])


def class_button(name: str, *, new: bool) -> str:
    return say("+ {name}, a new class", name=shown(name)) if new else f"✓ {shown(name)}"


def way(way: int | str, page: int) -> str:
    """The words on a button that leads from a page of classes to other buttons."""
    if way == NONE:
        return say("✗ none of these")
    if way == BACK or int(way) < page:
        return say("‹ back")
    return say("another…") if page == 0 else say("more ›")


def none_of_these(answer: str) -> str:
    """The answer, and what to do where the class is none of those shown."""
    return "\n\n".join([answer, say(NONE_OF_THESE)])


def did_you_mean(name: str, close: Sequence[str]) -> str:
    return fill(
        "There is no class <b>{name}</b> yet. Did you mean {close}? The photo waits until you choose.",
        name=shown(name),
        close=", ".join(map(shown, close)),
    )


def contested(present: str, name: str) -> str:
    return fill(
        "Somebody else labelled this photo <b>{present}</b>, and you say <b>{name}</b>. Which is it?",
        present=shown(present),
        name=shown(name),
    )


def receipt(done: Labelled) -> str:
    """What became of a labelled photo."""
    name, count = shown(done.class_name), photos(done.class_photos)
    if done.receipts[0].outcome is Outcome.DUPLICATE:
        return fill("I have this photo under <b>{name}</b> already ({count}).", name=name, count=count)
    if done.receipts[0].outcome is Outcome.MOVED:
        return fill(
            "Moved from <b>{before}</b> to <b>{name}</b>, which has {count} now.",
            before=shown(done.receipts[0].before or ""),
            name=name,
            count=count,
        )
    return fill("Learned as <b>{name}</b>, which has {count} now.", name=name, count=count)


def album_receipt(done: Labelled) -> str:
    """One receipt for all photos of an album."""
    name = shown(done.class_name)
    count = {outcome: sum(item.outcome is outcome for item in done.receipts) for outcome in Outcome}
    lines = []
    if count[Outcome.ADDED]:
        lines.append(fill("{count} learned as <b>{name}</b>.", count=photos(count[Outcome.ADDED]), name=name))
    if count[Outcome.MOVED]:
        origins = _origins(done, Outcome.MOVED)
        lines.append(fill("{count} moved there from {origins}.", count=photos(count[Outcome.MOVED]), origins=origins))
    if count[Outcome.DUPLICATE]:
        lines.append(fill("{count} there already.", count=photos(count[Outcome.DUPLICATE])))
    if count[Outcome.CONTESTED]:
        lines.append(
            fill(
                "{count} left in {origins}, where somebody else put them; reply to each with its class to settle that.",
                count=photos(count[Outcome.CONTESTED]),
                origins=_origins(done, Outcome.CONTESTED),
            )
        )
    if count[Outcome.GONE]:
        lines.append(fill("{count} no longer here; send them again.", count=photos(count[Outcome.GONE])))
    lines.append(fill("<b>{name}</b> has {count} now.", name=name, count=photos(done.class_photos)))
    return "\n".join(lines)


def refusals(refused: Sequence[Refused]) -> str:
    """Where no photo of an album can be used."""
    return "\n".join(map(_refused, refused))


def undone(done: Undone) -> str:
    """What was taken back, and what was left because it has been changed again since."""
    lines = []
    if done.renamed:
        before, after = done.renamed
        lines.append(
            fill("Undone: <b>{before}</b> is called <b>{after}</b> again.", before=shown(before), after=shown(after))
        )
    if done.out:
        lines.append(fill("Undone: {count} taken out again.", count=photos(done.out)))
    for name, count in sorted(done.back.items()):
        lines.append(fill("Undone: {count} back in <b>{name}</b>.", count=photos(count), name=shown(name)))
    if done.kept:
        lines.append(fill("{count} left alone: changed again since.", count=photos(done.kept)))
    if done.gone:
        lines.append(fill("{count} no longer here; send them again if you want them back.", count=photos(done.gone)))
    return "\n".join(lines)


def changed(done: Changed) -> str:
    """What became of a class that was renamed or merged."""
    after = shown(done.after or "")
    if not done.before:
        return (
            fill("<b>{after}</b> is called that already.", after=after) if after else say("There is nothing to move.")
        )
    before, count = ", ".join(map(shown, done.before)), photos(done.photos)
    return fill("<b>{before}</b> is <b>{after}</b> now: {count}.", before=before, after=after, count=count)


def removed(done: Changed) -> str:
    """What was taken out of its class."""
    if not done.photos:
        return say("Nothing to take out: it is in no class any more.")
    return fill("{count} taken out, and kept for a while, for undo.", count=photos(done.photos))


def no_such_class(name: str) -> str:
    return fill("There is no class <b>{name}</b>. /classes lists those there are.", name=shown(name))


def delete_class(name: str, count: int) -> str:
    return fill("Take all photos of <b>{name}</b> out of it? It has {count}.", name=shown(name), count=photos(count))


def withdraw(given: Mapping[str, int]) -> str:
    lines = [fill("{name}: {count}", name=shown(name), count=photos(count)) for name, count in given.items()]
    return "\n".join([say("Take all these photos out of their classes?"), *lines])


def _origins(done: Labelled, outcome: Outcome) -> str:
    return ", ".join(sorted({shown(item.before) for item in done.receipts if item.before and item.outcome is outcome}))


def _verdict(prediction: Prediction) -> str:
    if prediction.nothing:
        return say(NOTHING_KNOWN)
    return fill("<b>{name}</b>", name=shown(prediction.best)) if prediction.sure else say("Not sure.")


def _brief(place: int, prediction: Prediction) -> str:
    name, share = prediction.ranked()[0]
    if prediction.sure:
        return fill("{place}. <b>{name}</b> {share}", place=place, name=shown(name), share=percent(share))
    return fill("{place}. not sure, perhaps <b>{name}</b> {share}", place=place, name=shown(name), share=percent(share))


def _refused(item: Refused) -> str:
    return fill("{place}. not used: {reason}", place=item.place, reason=item.reason)
