"""Writes epsilon.json: what dp-accounting (Google, PyPI, 0.6.0) says of Poisson-sampled Gaussian noise, by two accountants.

    pip install dp-accounting==0.6.0 && python test/golden/privacy/make.py > test/golden/privacy/epsilon.json
"""

import json

import dp_accounting
from dp_accounting import pld, rdp

CASES = [
    # sampling rate, noise multiplier, contributions
    (0.004, 0.7, 200),
    (0.01, 0.8, 1000),
    (0.016, 1.0, 200),
    (0.02, 1.5, 10000),
    (0.1, 1.0, 40),
    (0.1, 1.2, 40),
    (0.1, 2.0, 40),
    (0.1, 4.0, 40),
    (0.5, 3.0, 20),
    (1.0, 10.0, 20),
]
DELTAS = [1e-5, 1e-7]


def epsilon(accountant, rate, noise, count, delta):
    event = dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(noise))
    return accountant.compose(event, count).get_epsilon(delta)


print("[")
lines = []
for rate, noise, count in CASES:
    for delta in DELTAS:
        renyi = epsilon(rdp.RdpAccountant(), rate, noise, count, delta)
        tight = epsilon(pld.PLDAccountant(), rate, noise, count, delta)
        case = {"samplingRate": rate, "noise": noise, "contributions": count, "delta": delta}
        lines.append("  " + json.dumps({**case, "renyi": round(renyi, 5), "lossDistribution": round(tight, 5)}))
print(",\n".join(lines))
print("]")
