"""Road signs, drawn flat: generic shapes in the common European style."""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont

FACE = 512
"""Side of a finished face in pixels."""

_SCALE = 3
_CANVAS = FACE * _SCALE
_RADIUS = _CANVAS * 0.48

_RED = (190, 28, 38)
_BLUE = (18, 82, 160)
_WHITE = (240, 240, 236)
_BLACK = (26, 26, 28)
_YELLOW = (246, 190, 22)
_METAL = (150, 153, 156)
_LIME = (24, 160, 84)
_GREEN = (22, 124, 76)

_Ink = tuple[int, int, int]
_Point = tuple[float, float]


class _Pen:
    """Draws in units of the sign's half width: x to the right and y down, both from -1 to 1."""

    def __init__(self) -> None:
        self.image = Image.new("RGBA", (_CANVAS, _CANVAS))
        self._draw = ImageDraw.Draw(self.image)

    def _at(self, x: float, y: float) -> _Point:
        return _CANVAS / 2 + x * _RADIUS, _CANVAS / 2 + y * _RADIUS

    def _box(self, x: float, y: float, radius: float) -> tuple[float, float, float, float]:
        return (*self._at(x - radius, y - radius), *self._at(x + radius, y + radius))

    def disc(self, ink: _Ink, radius: float, x: float = 0, y: float = 0) -> None:
        self._draw.ellipse(self._box(x, y, radius), fill=ink)

    def ring(self, ink: _Ink, radius: float, width: float, x: float = 0, y: float = 0) -> None:
        self._draw.ellipse(self._box(x, y, radius), outline=ink, width=round(width * _RADIUS))

    def arc(self, ink: _Ink, radius: float, start: float, end: float, width: float) -> None:
        box = self._box(0, 0, radius + width / 2)
        self._draw.arc(box, start, end, fill=ink, width=round(width * _RADIUS))

    def polygon(self, ink: _Ink, points: Sequence[_Point]) -> None:
        self._draw.polygon([self._at(*point) for point in points], fill=ink)

    def rounded(self, ink: _Ink, corners: Sequence[_Point], radius: float) -> None:
        """A convex polygon with round corners: discs at the corners, joined by thick lines."""
        self.stroke(ink, [*corners, corners[0]], 2 * radius)
        self.polygon(ink, corners)

    def stroke(self, ink: _Ink, points: Sequence[_Point], width: float) -> None:
        """A line with round ends and joints."""
        self._draw.line([self._at(*point) for point in points], fill=ink, width=round(width * _RADIUS))
        for point in points:
            self.disc(ink, width / 2, *point)

    def text(self, ink: _Ink, words: str, height: float, bold: float) -> None:
        font = ImageFont.load_default(height * _RADIUS)
        self._draw.text(self._at(0, 0), words, fill=ink, font=font, anchor="mm", stroke_width=round(bold * _RADIUS))


def _ngon(sides: int, radius: float, turn: float, y: float = 0) -> list[_Point]:
    """A regular polygon whose first corner lies `turn` degrees clockwise from the right."""
    angles = [math.radians(turn + 360 * side / sides) for side in range(sides)]
    return [(radius * math.cos(angle), y + radius * math.sin(angle)) for angle in angles]


def _stop(pen: _Pen) -> None:
    for ink, radius in ((_METAL, 0.98), (_WHITE, 0.95), (_RED, 0.87)):
        pen.rounded(ink, _ngon(8, radius, 22.5), 0.03)
    pen.text(_WHITE, "STOP", 0.59, 0.02)


def _give_way(pen: _Pen) -> None:
    for ink, radius in ((_METAL, 1.02), (_RED, 0.99), (_WHITE, 0.59)):
        pen.rounded(ink, _ngon(3, radius, 90, -0.23), 0.09)


def _warning(pen: _Pen) -> None:
    for ink, radius in ((_METAL, 1.02), (_RED, 0.99), (_WHITE, 0.68)):
        pen.rounded(ink, _ngon(3, radius, -90, 0.23), 0.09)


def _disc(pen: _Pen, *bands: tuple[_Ink, float]) -> None:
    pen.disc(_METAL, 1)
    for ink, radius in bands:
        pen.disc(ink, radius)


def _square(pen: _Pen, ink: _Ink) -> None:
    for colour, half in ((_METAL, 0.83), (_WHITE, 0.81), (ink, 0.75)):
        pen.rounded(colour, [(-half, -half), (half, -half), (half, half), (-half, half)], 0.08)


def _no_entry(pen: _Pen) -> None:
    _disc(pen, (_WHITE, 0.98), (_RED, 0.93))
    pen.polygon(_WHITE, [(-0.68, -0.17), (0.68, -0.17), (0.68, 0.17), (-0.68, 0.17)])


def _speed_limit(pen: _Pen) -> None:
    _disc(pen, (_RED, 0.98), (_WHITE, 0.73))
    pen.text(_BLACK, "50", 0.88, 0.024)


def _priority_road(pen: _Pen) -> None:
    for ink, radius in ((_METAL, 0.93), (_WHITE, 0.91), (_BLACK, 0.72), (_WHITE, 0.69), (_YELLOW, 0.58)):
        pen.rounded(ink, _ngon(4, radius, 0), 0.05)


def _roundabout(pen: _Pen) -> None:
    _disc(pen, (_WHITE, 0.98), (_BLUE, 0.93))
    for start in (-80, 40, 160):
        pen.arc(_WHITE, 0.5, start, start + 72, 0.17)
        _arrowhead(pen, 0.5, start + 70)


def _arrowhead(pen: _Pen, radius: float, angle: float) -> None:
    def polar(distance: float, degrees: float) -> _Point:
        turn = math.radians(degrees)
        return distance * math.cos(turn), distance * math.sin(turn)

    pen.polygon(_WHITE, [polar(radius - 0.2, angle), polar(radius + 0.2, angle), polar(radius, angle + 36)])


def _pedestrian_crossing(pen: _Pen) -> None:
    _square(pen, _BLUE)
    pen.polygon(_WHITE, [(0, -0.68), (0.7, 0.6), (-0.7, 0.6)])
    pen.disc(_BLACK, 0.075, 0.02, -0.3)
    pen.stroke(_BLACK, [(0.0, -0.14), (-0.03, 0.12)], 0.15)
    pen.stroke(_BLACK, [(-0.03, 0.12), (0.1, 0.28), (0.18, 0.48)], 0.085)
    pen.stroke(_BLACK, [(-0.03, 0.12), (-0.1, 0.3), (-0.24, 0.46)], 0.085)
    pen.stroke(_BLACK, [(0.02, -0.14), (0.13, 0.0), (0.24, 0.04)], 0.06)
    pen.stroke(_BLACK, [(-0.02, -0.14), (-0.13, 0.0), (-0.17, 0.13)], 0.06)
    for x in (-0.46, -0.2, 0.06, 0.32):
        pen.polygon(_BLACK, [(x, 0.53), (x + 0.15, 0.53), (x + 0.17, 0.59), (x - 0.02, 0.59)])


def _parking(pen: _Pen) -> None:
    _square(pen, _BLUE)
    pen.text(_WHITE, "P", 1.5, 0.04)


def _bike_path(pen: _Pen) -> None:
    _square(pen, _GREEN)
    rear, front, crank, seat, head = (-0.36, 0.22), (0.36, 0.22), (-0.05, 0.22), (-0.15, -0.2), (0.24, -0.2)
    for wheel in (rear, front):
        pen.ring(_WHITE, 0.29, 0.065, *wheel)
    pen.stroke(_WHITE, [rear, crank, head, seat, rear], 0.065)
    pen.stroke(_WHITE, [crank, (-0.18, -0.32)], 0.065)
    pen.stroke(_WHITE, [(-0.29, -0.34), (-0.09, -0.34)], 0.09)
    pen.stroke(_WHITE, [front, (0.2, -0.38), (0.36, -0.4)], 0.065)


def _traffic_lights(pen: _Pen) -> None:
    _warning(pen)
    corners = [(-0.09, -0.2), (0.09, -0.2), (0.09, 0.5), (-0.09, 0.5)]
    pen.rounded(_BLACK, corners, 0.06)
    for ink, y in ((_RED, -0.1), (_YELLOW, 0.15), (_LIME, 0.4)):
        pen.disc(ink, 0.1, 0, y)


_FACES: dict[str, Callable[[_Pen], None]] = {
    "stop": _stop,
    "give way": _give_way,
    "priority road": _priority_road,
    "no entry": _no_entry,
    "speed limit 50": _speed_limit,
    "parking": _parking,
    "roundabout": _roundabout,
    "traffic lights": _traffic_lights,
    "pedestrian crossing": _pedestrian_crossing,
    "bike path": _bike_path,
}

NAMES = tuple(_FACES)
"""Every sign, as a person would caption a photo of it."""


@lru_cache(maxsize=len(_FACES))
def face(name: str) -> Image.Image:
    """The sign seen straight on: RGBA, FACE x FACE, clear around the sign. Shared: copy, then draw.

    KeyError for a name that is not in NAMES.
    """
    pen = _Pen()
    _FACES[name](pen)
    return pen.image.reduce(_SCALE)
