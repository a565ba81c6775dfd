"""May a candidate be served?"""

from collections.abc import Sequence
from dataclasses import dataclass

from trainer.evaluate import Evaluation

NAMED = 10  # Classes named in a reason; there may be hundreds.


@dataclass(frozen=True)
class Verdict:
    promoted: bool
    reason: str


def judge(candidate: Evaluation, served: Evaluation | str, *, force: bool = False) -> Verdict:
    """Compare on the same frozen test photos; `served` may be the reason why there is nothing to compare with."""
    if isinstance(served, str):
        return Verdict(True, served)
    changed = _changes(served.classes, candidate.classes)
    if changed:
        return Verdict(True, f"the classes changed: {changed}")
    if not candidate.photos:
        return Verdict(True, "there are no test photos to compare on yet")
    scores = f"{candidate.accuracy:.1%} of {len(candidate.photos)} test photos against {served.accuracy:.1%}"
    if candidate.accuracy >= served.accuracy:
        return Verdict(True, f"it is not worse than the served version: {scores}")
    if force:
        return Verdict(True, f"promotion was forced, though it is worse: {scores}")
    return Verdict(False, f"it is worse than the served version: {scores}")


def _changes(before: Sequence[str], after: Sequence[str]) -> str:
    added = [f"+{name}" for name in after if name not in before]
    gone = [f"-{name}" for name in before if name not in after]
    names = added + gone
    return " ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
