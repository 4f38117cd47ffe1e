"""What a Dask worker runs that learns for a driver: fits, and predictions of the whole pool.

It loads torch, which no worker that computes does. The features of the pool come once and
stay; plain bytes come in, plain bytes go out.
"""

from __future__ import annotations

import os
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_POOL: dict[str, NDArray[np.float32]] = {}
"""Features of the last pool, by its name."""
_LOCK = Lock()


def keep_pool(name: str, features: NDArray[np.float32]) -> None:
    """Keep the features of a pool, float32[n, d], in the place of another's."""
    with _LOCK:
        _POOL.clear()
        _POOL[name] = features


def learn_here(pool: str, lesson: bytes, cores: int | None) -> bytes | None:
    """Learn a lesson on this worker's GPU, or without one on its cores.

    Parameters
    ----------
    pool
        Name of the pool whose rows the lesson means.
    lesson
        ``Lesson.to_npz()``.
    cores
        How many; None takes those that this process may use.

    Returns
    -------
    bytes | None
        ``Learnt.to_npz()``; None where this worker was not given that pool.
    """
    features = _POOL.get(pool)
    if features is None:
        return None
    import torch

    from leadline.surrogate.lesson import Lesson, learn_lesson
    from leadline.surrogate.torch_predict import best_device

    torch.set_num_threads(cores or _own_cores())
    return learn_lesson(Lesson.from_npz(lesson), features, best_device()).to_npz()


def device_words(cores: int | None) -> str:
    """Return what this worker learns on, as a person would say it."""
    import torch

    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    return f"{cores or _own_cores()} CPU threads"


def _own_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
