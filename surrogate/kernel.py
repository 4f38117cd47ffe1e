"""The Matérn kernel in plain arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SMOOTHNESSES = (0.5, 1.5, 2.5)


def matern(A: NDArray[np.float64], B: NDArray[np.float64], nu: float) -> NDArray[np.float64]:
    """Return the Matérn correlation of A[a, p] and B[b, p], already over the lengthscale.

    With r = √(2ν) |a - b|: exp(-r) for ν = 1/2, (1 + r) exp(-r) for 3/2 and
    (1 + r + r²/3) exp(-r) for 5/2 (Rasmussen and Williams, eq. 4.17).
    """
    r: NDArray[np.float64] = A @ (-2 * B.T)
    r += np.einsum("ij,ij->i", A, A)[:, None]
    r += np.einsum("ij,ij->i", B, B)[None, :]
    np.maximum(r, 0, out=r)
    r *= 2 * nu
    np.sqrt(r, out=r)
    decay: NDArray[np.float64] = np.exp(-r)
    if nu != 0.5:
        decay *= 1 + r if nu == 1.5 else 1 + r * (1 + r / 3)
    return decay
