"""The Pareto front of cost and value."""

from collections.abc import Iterable


def front(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The (cost, value) points that no other point beats: none costs as little or less with a higher value.

    Sorted by cost; equal points once.
    """
    best: list[tuple[float, float]] = []
    for cost, value in sorted(points, key=lambda point: (point[0], -point[1])):
        if not best or value > best[-1][1]:
            best.append((cost, value))
    return best
