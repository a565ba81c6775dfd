"""The states of a version on its way to the chat and out of it again, after the harness of TensorFlow Serving.

    new ─▶ loading ─▶ warming ─▶ checking ─▶ serving ─▶ draining ─▶ gone
                                                ▲            │
                                                └── resting ◀┘

new        the served pointer names it
loading    its files are compared with their hashes, and its network is read
warming    the slow first answers of every batch size are paid for
checking   its labels have to fit its network, and its golden inputs to have their answers
serving    it answers
draining   another one took over; it finishes what it was asked
resting    it stays loaded for a while, in case it is wanted back
gone       its process has ended, or is about to

From every state it may be gone: refused, dead, or no longer wanted.
"""

from enum import StrEnum
from types import MappingProxyType


class State(StrEnum):
    NEW = "new"
    LOADING = "loading"
    WARMING = "warming"
    CHECKING = "checking"
    SERVING = "serving"
    DRAINING = "draining"
    RESTING = "resting"
    GONE = "gone"


NEXT = MappingProxyType(
    {
        State.NEW: {State.LOADING, State.GONE},
        State.LOADING: {State.WARMING, State.GONE},
        State.WARMING: {State.CHECKING, State.GONE},
        State.CHECKING: {State.SERVING, State.GONE},
        State.SERVING: {State.DRAINING, State.GONE},
        State.DRAINING: {State.RESTING, State.GONE},
        State.RESTING: {State.SERVING, State.GONE},
        State.GONE: set[State](),
    }
)


def follows(before: State, after: State) -> bool:
    """Whether a version may go from one state to the other."""
    return after in NEXT[before]
