"""Coefficients of log1p for activations.hpp: p with atanh(s) = s + s^3 p(s^2), 0 <= s <= 1/3 (needs mpmath)."""

from mpmath import atanh, chebyfit, mp, mpf, sqrt

mp.dps = 60


def p(z):
    if z < mpf("1e-20"):
        return mpf(1) / 3 + z / 5
    s = sqrt(z)
    return (atanh(s) / s - 1) / z


for name, terms, digits in (("float", 5, 9), ("double", 12, 17)):
    coefficients, error = chebyfit(p, [0, mpf(1) / 9 * mpf("1.0001")], terms, error=True)
    print(name, "relative error at most", mp.nstr(error / 9, 3))
    for c in coefficients:
        print("   ", mp.nstr(c, digits))
