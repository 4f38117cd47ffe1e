"""The Matérn kernel in plain arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SMOOTHNESSES = (0.5, 1.5, 2.5)


def matern(A: NDArray[Any], B: NDArray[Any], nu: float) -> NDArray[Any]:
    """Return the Matérn correlation of A[a, p] and B[b, p], already over the lengthscale.

    With r = √(2ν) |a - b|: exp(-r) for ν = 1/2, (1 + r) exp(-r) for 3/2 and
    (1 + r + r²/3) exp(-r) for 5/2 (Rasmussen and Williams, eq. 4.17). The
    precision is that of the arrays.
    """
    squares = (A * A).sum(axis=1)[:, None] - 2 * (A @ B.T) + (B * B).sum(axis=1)[None, :]
    r = np.sqrt(np.maximum(squares, 0) * A.dtype.type(2 * nu))
    decay: NDArray[Any] = np.exp(-r)
    if nu == 0.5:
        return decay
    decay *= 1 + r if nu == 1.5 else 1 + r * (1 + r / 3)
    return decay
