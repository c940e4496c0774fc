"""Distances on the ellipsoid by another method than ours: Vincenty's (Survey Review 23, 1975)."""

import math

A_M = 6_378_137.0
F = 1 / 298.257223563
B_M = A_M * (1 - F)


def vincenty_m(lat1_deg: float, lon1_deg: float, lat2_deg: float, lon2_deg: float) -> float:
    """Return the geodesic distance, to 0.1 mm for places that are not opposite each other."""
    if (lat1_deg, lon1_deg) == (lat2_deg, lon2_deg):
        return 0.0
    difference = math.radians((lon2_deg - lon1_deg + 180) % 360 - 180)
    u1 = math.atan((1 - F) * math.tan(math.radians(lat1_deg)))
    u2 = math.atan((1 - F) * math.tan(math.radians(lat2_deg)))
    s1, c1, s2, c2 = math.sin(u1), math.cos(u1), math.sin(u2), math.cos(u2)
    lam = difference
    for _ in range(200):
        sl, cl = math.sin(lam), math.cos(lam)
        sin_sigma = math.hypot(c2 * sl, c1 * s2 - s1 * c2 * cl)
        if sin_sigma == 0:
            return 0.0
        cos_sigma = s1 * s2 + c1 * c2 * cl
        sigma = math.atan2(sin_sigma, cos_sigma)
        sin_alpha = c1 * c2 * sl / sin_sigma
        cos2_alpha = 1 - sin_alpha**2
        mid = cos_sigma - 2 * s1 * s2 / cos2_alpha if cos2_alpha > 1e-15 else 0.0
        c = F / 16 * cos2_alpha * (4 + F * (4 - 3 * cos2_alpha))
        before, lam = (
            lam,
            difference
            + (1 - c)
            * F
            * sin_alpha
            * (sigma + c * sin_sigma * (mid + c * cos_sigma * (2 * mid**2 - 1))),
        )
        if abs(lam - before) < 1e-14:
            break
    u = cos2_alpha * (A_M**2 - B_M**2) / B_M**2
    big_a = 1 + u / 16384 * (4096 + u * (-768 + u * (320 - 175 * u)))
    big_b = u / 1024 * (256 + u * (-128 + u * (74 - 47 * u)))
    last = big_b / 6 * mid * (4 * sin_sigma**2 - 3) * (4 * mid**2 - 3)
    more = big_b * sin_sigma * (mid + big_b / 4 * (cos_sigma * (2 * mid**2 - 1) - last))
    return B_M * big_a * (sigma - more)
