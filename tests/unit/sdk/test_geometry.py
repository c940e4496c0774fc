"""Lines and polygons against methods that work in another way."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehaul.geometry import Line, Point, Polygon

WHOLE = st.integers(-30, 30)
PLACES = st.builds(Point, WHOLE.map(float), WHOLE.map(float))
REAL = st.floats(-100, 100)
SPOTS = st.builds(Point, REAL, REAL)
SQUARE = Polygon((Point(0, 0), Point(10, 0), Point(10, 10), Point(0, 10)))


@st.composite
def stars(draw: st.DrawFn) -> Polygon:
    """Draw a simple polygon: corners at growing angles around the origin, at any distance."""
    count = draw(st.integers(3, 12))
    polygon = []
    for index in range(count):
        angle = 2 * math.pi * (index + draw(st.floats(0, 0.9))) / count
        reach = draw(st.floats(5, 90))
        polygon.append(Point(reach * math.cos(angle), reach * math.sin(angle)))
    return Polygon(tuple(polygon))


def winding(polygon: Polygon, point: Point) -> int:
    """Return how often the outline runs round a point: the sum of the angles it is seen under."""
    total = 0.0
    for side in polygon.sides:
        ax, ay = side.start.x - point.x, side.start.y - point.y
        bx, by = side.end.x - point.x, side.end.y - point.y
        total += math.atan2(ax * by - ay * bx, ax * bx + ay * by)
    return round(total / (2 * math.pi))


def cross(a: Point, b: Point, c: Point) -> Fraction:
    ax, ay, bx, by, cx, cy = (Fraction(v) for v in (a.x, a.y, b.x, b.y, c.x, c.y))
    return (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)


def have_a_common_point(one: Line, other: Line) -> bool:
    """Solve for the common point in fractions (an independent method for whole numbers)."""
    p, q, r, s = one.start, one.end, other.start, other.end
    down = cross(p, q, Point(p.x + s.x - r.x, p.y + s.y - r.y))
    if down:
        t, u = cross(r, s, p), cross(p, q, r)
        t_part = t / -cross(r, s, Point(r.x + q.x - p.x, r.y + q.y - p.y))
        u_part = u / -down
        return 0 <= t_part <= 1 and 0 <= u_part <= 1
    if cross(p, q, r) or cross(p, q, s) or cross(r, s, p) or cross(r, s, q):
        return False
    along = [(v.x, v.y) for v in (p, q, r, s)]
    first, second = sorted(along[:2]), sorted(along[2:])
    return first[0] <= second[1] and second[0] <= first[1]


@given(PLACES, PLACES, PLACES, PLACES)
def test_segments_meet_where_a_solution_in_fractions_says_so(
    a: Point, b: Point, c: Point, d: Point
) -> None:
    assert Line(a, b).meets(Line(c, d)) == have_a_common_point(Line(a, b), Line(c, d))
    assert Line(a, b).meets(Line(c, d)) == Line(d, c).meets(Line(a, b))


@given(PLACES, PLACES, PLACES, PLACES)
def test_the_way_back_crosses_where_the_way_there_did(
    a: Point, b: Point, before: Point, after: Point
) -> None:
    line = Line(a, b)
    assert line.crossed_by(before, after) == -line.crossed_by(after, before)


@given(SPOTS, SPOTS, SPOTS, st.floats(0, 1))
def test_no_point_of_a_segment_is_nearer_than_its_distance(
    a: Point, b: Point, point: Point, part: float
) -> None:
    on_it = Point(a.x + part * (b.x - a.x), a.y + part * (b.y - a.y))
    away = math.dist((on_it.x, on_it.y), (point.x, point.y))
    assert Line(a, b).distance_px(point) <= away + 1e-9


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        (Point(5, 3), 3.0),
        (Point(-3, -4), 5.0),
        (Point(13, 4), 5.0),
        (Point(5, 0), 0.0),
        (Point(5, -2), 2.0),
    ],
)
def test_distance_from_a_segment(point: Point, expected: float) -> None:
    assert Line(Point(0, 0), Point(10, 0)).distance_px(point) == pytest.approx(expected)


def test_distance_from_a_segment_without_length() -> None:
    assert Line(Point(0, 0), Point(0, 0)).distance_px(Point(3, 4)) == 5


@given(stars(), SPOTS)
def test_inside_is_where_the_outline_runs_round_once(polygon: Polygon, point: Point) -> None:
    if polygon.distance_px(point) > 1e-6:
        assert polygon.contains(point) == (winding(polygon, point) != 0)


@given(stars(), SPOTS, st.integers(0, 11), st.sampled_from([1, -1]))
def test_inside_does_not_depend_on_the_order_of_the_corners(
    polygon: Polygon, point: Point, first: int, order: int
) -> None:
    corners = polygon.points[first:] + polygon.points[:first]
    same = Polygon(corners[::order])
    if polygon.distance_px(point) > 1e-6:
        assert same.contains(point) == polygon.contains(point)
    assert same.distance_px(point) == pytest.approx(polygon.distance_px(point))
    assert same.area == pytest.approx(polygon.area)


@given(stars(), SPOTS, st.floats(0, 7), SPOTS)
def test_inside_does_not_change_when_all_is_turned_and_moved(
    polygon: Polygon, point: Point, angle: float, by: Point
) -> None:
    def moved(p: Point) -> Point:
        x, y = math.cos(angle) * p.x - math.sin(angle) * p.y, math.sin(angle) * p.x
        return Point(x + by.x, y + math.cos(angle) * p.y + by.y)

    if polygon.distance_px(point) > 1e-6:
        turned = Polygon(tuple(moved(p) for p in polygon.points))
        assert turned.contains(moved(point)) == polygon.contains(point)


@given(stars())
def test_corners_at_growing_angles_make_a_simple_polygon(polygon: Polygon) -> None:
    assert polygon.crossing_sides() is None


@given(stars().filter(lambda p: len(p.points) > 3), st.data())
def test_a_side_led_across_another_is_found(polygon: Polygon, data: st.DataObject) -> None:
    sides = polygon.sides
    index = data.draw(st.integers(0, len(sides) - 1))
    middle = Point(
        (sides[index].start.x + sides[index].end.x) / 2,
        (sides[index].start.y + sides[index].end.y) / 2,
    )
    # From the side opposite, over the middle of this one and as far again.
    at = (index + len(sides) // 2) % len(sides)
    corner = sides[at].end
    beyond = Point(2 * middle.x - corner.x, 2 * middle.y - corner.y)
    corners = list(polygon.points)
    corners[at : at + 1] = [corners[at], beyond]
    assert Polygon(tuple(corners)).crossing_sides() is not None


@pytest.mark.parametrize(
    ("corners", "expected"),
    [
        pytest.param([(0, 0), (10, 10), (10, 0), (0, 10)], (0, 2), id="bow-tie"),
        pytest.param([(0, 0), (10, 0), (5, 0), (5, 5)], (0, 1), id="runs-back-upon-itself"),
        pytest.param([(0, 0), (10, 0), (10, 10), (5, 0)], (0, 2), id="corner-touches-a-side"),
        pytest.param([(0, 0), (10, 0), (20, 0)], (0, 2), id="no-area"),
        pytest.param([(0, 0), (5, 0), (10, 0), (10, 10)], None, id="corner-in-a-straight-side"),
        pytest.param([(0, 0), (10, 0), (10, 10), (5, 5), (0, 10)], None, id="hollow"),
    ],
)
def test_sides_that_meet(corners: list[tuple[float, float]], expected: tuple[int, int]) -> None:
    assert Polygon(tuple(Point(x, y) for x, y in corners)).crossing_sides() == expected


def test_area_and_distance_of_a_square() -> None:
    assert SQUARE.area == 100
    assert SQUARE.distance_px(Point(5, 4)) == 4
    assert SQUARE.distance_px(Point(13, 14)) == 5
