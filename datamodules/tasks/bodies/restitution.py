"""MuJoCo contacts that give back a chosen share of the speed."""

from __future__ import annotations

import math

CONTACT_RATE = 60.0
"""omega, rad/s: a contact lasts about pi / omega = 52 ms, a rubber ball's. Steps of 2 ms resolve it well."""

SOLIMP = "0.9999 0.9999 0.001 0.5 2"
"""MuJoCo's constraint impedance, as near 1 as it goes: nothing but the spring and the damper acts in a contact."""

LOWEST = math.exp(-2.0)
"""A damper that is critical, theta = 0: more damping gives no lower restitution."""


def contact_solref(restitution: float, *, rate: float = CONTACT_RATE) -> tuple[float, float]:
    """MuJoCo's `solref` of contacts with a coefficient of restitution e: (-stiffness, -damping), both per mass.

    Negative values are taken as they are: at impedance 1 the depth r of a contact obeys r'' + c r' + k r = 0 whatever
    the mass, with k = omega^2 and c = 2 omega cos(theta). A contact does not pull: it ends where its force is
    zero, c r' + k r = 0, and there the ratio of the speeds is e = exp(-2 theta cot(theta)) (own derivation; the same as
    Schwager and Poeschel, Granular Matter 9, 2007, eq. 23). Gravity is left out: e holds for impacts well faster than
    g / omega = 0.16 m/s.

    Args:
        restitution: e, between exp(-2) = 0.135 and 1.
        rate: omega in rad/s.

    Raises:
        ValueError: `restitution` is out of range.
    """
    if not LOWEST < restitution <= 1.0:
        raise ValueError(f"restitution={restitution} must be above {LOWEST:.4f} and at most 1")
    low, high = 1e-9, math.pi / 2
    for _ in range(60):  # halves the interval: theta / tan(theta) falls from 1 to 0
        theta = (low + high) / 2
        low, high = (theta, high) if math.exp(-2 * theta / math.tan(theta)) < restitution else (low, theta)
    return -(rate**2), -2 * rate * math.cos(theta)
