"""Owns the playing of several pieces of blocking code in every order of their calls to the outside."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from greenlet import getcurrent, greenlet  # type: ignore[import-untyped]


class Stepped:
    """A port at each of whose calls a piece of code stops until it is its turn again."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._inner, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            outer = getcurrent().parent
            if outer is not None:
                outer.switch()
            return method(*args, **kwargs)

        return call


@dataclass
class Scene:
    """world: what the pieces work on, as it is afterwards."""

    world: Any
    pieces: Sequence[Callable[[], object]]


def in_every_order(make: Callable[[], Scene]) -> Iterator[Any]:
    """The world after each of the orders in which the pieces' calls can follow one another; each is
    played on a scene of its own."""
    left: list[list[int]] = [[]]
    while left:
        prefix, order = left.pop(), list[int]()
        scene = make()
        running = [greenlet(piece) for piece in scene.pieces]
        for each in running:
            each.switch()
        while alive := [number for number, each in enumerate(running) if not each.dead]:
            if len(order) < len(prefix):
                turn = prefix[len(order)]
            else:
                turn = alive[0]
                left += [[*order, other] for other in alive[1:]]
            order.append(turn)
            running[turn].switch()
        yield scene.world
