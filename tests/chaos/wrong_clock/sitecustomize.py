"""Puts ``time.time`` and its kin wrong by WRONG_CLOCK seconds, in child processes as well.

Its folder on PYTHONPATH has Python import it first of all. A time namespace moves no clock
that tells the date, and Debian's libfaketime 0.9.10 breaks the sleeping and waiting of
Python 3.11. All that runs beside a worker is Python and asks ``time``, so its view of the
clock is put wrong here. Times of files stay right: they are the kernel's, as those of a
file server are.
"""

from __future__ import annotations

import os
import time

WRONG = float(os.environ["WRONG_CLOCK"])
_time, _time_ns, _clock_gettime = time.time, time.time_ns, time.clock_gettime
_gmtime, _localtime = time.gmtime, time.localtime


def _wrong_clock_gettime(clock: int) -> float:
    return _clock_gettime(clock) + (WRONG if clock == time.CLOCK_REALTIME else 0.0)


time.time = lambda: _time() + WRONG
time.time_ns = lambda: _time_ns() + int(WRONG * 1e9)
time.clock_gettime = _wrong_clock_gettime
time.gmtime = lambda seconds=None: _gmtime(time.time() if seconds is None else seconds)
time.localtime = lambda seconds=None: _localtime(time.time() if seconds is None else seconds)
