"""Coefficients of exp for functions.hpp: q with e^r = 1 + r + r^2 q(r) on |r| <= ln 2 / 2 (needs mpmath)."""

from mpmath import chebyfit, expm1, log, mp, mpf

mp.dps = 60
HALF_LN2 = log(2) / 2 * mpf("1.0001")


def q(r):
    if abs(r) < mpf("1e-12"):
        return mpf(1) / 2 + r / 6
    return (expm1(r) - r) / r**2


for name, terms, digits in (("float", 5, 9), ("double", 10, 17)):
    coefficients, error = chebyfit(q, [-HALF_LN2, HALF_LN2], terms, error=True)
    print(name, "error of e^r at most", mp.nstr(error * HALF_LN2**2, 3))
    for c in coefficients:
        print("   ", mp.nstr(c, digits))
