"""The virtual conveyor with few parcels, and a belt that stands still now and then."""

from __future__ import annotations

from edgehaul.virtual.conveyor import Conveyor, _Placed


class SparseBelt(Conveyor):
    """A conveyor that runs for some time and then stands for some, with few parcels on it.

    Light and sensor noise go on while it stands.

    Args:
        seed: As of the conveyor.
        every: Only one of so many places on the belt is filled as the conveyor fills it.
        runs_s: How long it runs at a time.
        stands_s: How long it stands then; 0 for never.
        width: Width of the pictures in pixels.
        height: Their height.
        fps: Frames per second.
    """

    def __init__(
        self,
        *,
        seed: int,
        every: int = 1,
        runs_s: float = 8.0,
        stands_s: float = 0.0,
        width: int = 320,
        height: int = 240,
        fps: float = 25.0,
    ) -> None:
        super().__init__(seed=seed, width=width, height=height, fps=fps)
        self._every = every
        self._runs, self._stands = round(runs_s * fps), round(stands_s * fps)

    def moves(self, index: int) -> bool:
        """Return whether the belt has moved since the frame before."""
        return self._travel_px(index) != self._travel_px(max(0, index - 1))

    def _travel_px(self, index: int) -> float:
        rounds, within = divmod(index, self._runs + self._stands)
        return super()._travel_px(rounds * self._runs + min(within, self._runs))

    def _slot(self, slot: int) -> tuple[_Placed, ...]:
        return super()._slot(slot) if slot % self._every == self.seed % self._every else ()
