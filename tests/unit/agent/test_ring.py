"""The ring holds the last seconds: within its bounds, in order, and never less than was asked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehaul_agent.pipeline.ring import Ring, Still, at_even_times

# In eighths of a second, which floats hold exactly.
EIGHTHS = st.integers(0, 80).map(lambda n: n / 8)
GAPS_S = st.lists(
    st.tuples(st.integers(1, 24).map(lambda n: n / 8), st.integers(1, 40)), min_size=1, max_size=60
)


def stills_of(gaps: list[tuple[float, int]]) -> list[Still]:
    at_s, stills = 1_000.0, []
    for number, (gap_s, size) in enumerate(gaps):
        at_s += gap_s
        stills.append(Still(at_s, bytes([number]) * size))
    return stills


@given(GAPS_S, st.integers(1, 200), EIGHTHS)
def test_it_is_the_newest_pictures_in_order_and_within_both_bounds(
    gaps: list[tuple[float, int]], max_bytes: int, max_s: float
) -> None:
    ring, given_ = Ring(max_bytes, max_s), []
    for still in stills_of(gaps):
        ring.add(still)
        if len(still.jpeg) <= max_bytes:
            given_.append(still)
        kept = list(ring)
        assert kept == given_[len(given_) - len(kept) :]
        assert ring.kept_bytes == sum(len(s.jpeg) for s in kept) <= max_bytes
        if kept:
            assert kept[-1].captured_at_s - kept[0].captured_at_s <= max_s


@given(GAPS_S, EIGHTHS)
def test_what_shows_from_a_time_on_is_all_there(
    gaps: list[tuple[float, int]], pre_s: float
) -> None:
    ring, seen = Ring(10**6, 10**6), []
    for still in stills_of(gaps):
        ring.add(still)
        seen.append(still)
        first_s = still.captured_at_s - pre_s
        ring.forget_before(first_s)
        kept = list(ring)
        assert [s for s in seen if s.captured_at_s >= first_s] == [
            s for s in kept if s.captured_at_s >= first_s
        ]
        if seen[0].captured_at_s <= first_s:
            assert kept[0].captured_at_s <= first_s, "the one that shows at its beginning"
        assert sum(s.captured_at_s < first_s for s in kept) <= 1
        assert ring.between(first_s, still.captured_at_s + 1) == kept


@given(GAPS_S, st.floats(0.1, 10), st.floats(1, 30))
def test_a_film_lasts_as_long_as_its_time(
    gaps: list[tuple[float, int]], duration_s: float, fps: float
) -> None:
    stills = stills_of(gaps)
    start_s = stills[0].captured_at_s
    end_s = start_s + duration_s  # rounded, so that the difference may lie beside duration_s
    jpegs = at_even_times(stills, start_s, end_s, fps)
    assert len(jpegs) == max(1, round((end_s - start_s) * fps))
    numbers = [jpeg[0] for jpeg in jpegs]
    assert numbers == sorted(numbers)
    for number, shown in enumerate(numbers):
        middle_s = start_s + (number + 0.5) / fps
        assert stills[shown].captured_at_s <= middle_s
        assert all(s.captured_at_s > middle_s for s in stills[shown + 1 :])


@pytest.mark.parametrize("early_s", [-0.04, 0.0, 0.04])
def test_pictures_that_come_a_little_early_or_late_are_all_shown_once(early_s: float) -> None:
    stills = [Still(k / 5 + early_s * (k % 2), bytes([k])) for k in range(50)]
    jpegs = at_even_times(stills, 0.0, 10.0, 5.0)
    assert [jpeg[0] for jpeg in jpegs] == list(range(50))
