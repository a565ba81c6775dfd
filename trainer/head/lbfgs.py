"""L-BFGS: minimises a smooth function of many numbers from its value and gradient.

Liu and Nocedal, "On the limited memory BFGS method for large scale optimization", 1989; in Nocedal and Wright,
"Numerical Optimization", 2nd edition, algorithms 7.4 (direction), 7.5 (the whole) and 3.1 (step length).
"""

from collections import deque
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

MEMORY = 10  # Pairs of steps that stand for the curvature.
_ENOUGH = 1e-4  # A step must give at least this part of what the slope promises.
_SHORTEST = 1e-10


def descend(
    function: Callable[[Vector], tuple[float, Vector]],
    start: Vector,
    *,
    guess: Callable[[Vector], Vector] = np.copy,
    tolerance: float = 1e-4,
) -> Iterator[Vector]:
    """`start`, then ever better places, where `function` (value and gradient) is less.

    `guess` multiplies a gradient with what the inverse Hessian might be, up to a factor: the better it is, the fewer
    steps are needed.
    Ends where no part of the gradient exceeds `tolerance`, or where no step helps any more, which is where rounding
    begins to hide the slope.
    """
    place, (value, gradient) = start, function(start)
    steps: deque[tuple[Vector, Vector]] = deque(maxlen=MEMORY)
    yield place
    while np.abs(gradient).max() > tolerance:
        direction = -_inverse_curvature(gradient, steps, guess)
        slope = float(gradient @ direction)
        length = 1.0 if steps else 1.0 / max(1.0, float(np.linalg.norm(direction)))
        while True:
            new_place = place + length * direction
            new_value, new_gradient = function(new_place)
            if new_value <= value + _ENOUGH * length * slope:
                break
            length /= 2
            if length < _SHORTEST:
                return
        step, change = new_place - place, new_gradient - gradient
        if step @ change > 0:  # Otherwise the pair would say that the function curves downwards.
            steps.append((step, change))
        place, value, gradient = new_place, new_value, new_gradient
        yield place


def _inverse_curvature(
    gradient: Vector, steps: deque[tuple[Vector, Vector]], guess: Callable[[Vector], Vector]
) -> Vector:
    """The inverse Hessian that the past steps suggest, times the gradient: the two-loop recursion."""
    result = gradient.copy()
    shares = []
    for step, change in reversed(steps):
        share = (step @ result) / (step @ change)
        result -= share * change
        shares.append(share)
    result = guess(result)
    if steps:
        step, change = steps[-1]
        result *= (step @ change) / (change @ guess(change))
    for (step, change), share in zip(steps, reversed(shares), strict=True):
        result += step * (share - (change @ result) / (step @ change))
    return result
