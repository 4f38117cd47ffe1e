"""When runs of a deployment begin: a cron line or an interval, in this machine's time zone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from prefect.client.schemas.schedules import CronSchedule
from prefect.schedules import Cron, Interval, Schedule
from pydantic import TypeAdapter, ValidationError
from tzlocal import get_localzone_name

from leadline.tasks.errors import InputError
from leadline.tasks.quantities import Seconds

ANCHOR = datetime(2020, 1, 1)
"""Intervals count from a midnight: so every 6 h is 0, 6, 12 and 18 o'clock, whoever asks when."""


@dataclass(frozen=True)
class Timetable:
    """When runs begin.

    Parameters
    ----------
    schedule
        For Prefect; None where runs are begun by hand alone.
    words
        For a person.
    """

    schedule: Schedule | None = None
    words: str = "begun by hand alone"


def timetable(cron: str | None = None, every: str | None = None) -> Timetable:
    """Return the timetable that a cron line or an interval says; by hand alone without either.

    Raises
    ------
    InputError
        If both are given, or one cannot be read.
    """
    if cron is not None and every is not None:
        raise InputError("--cron and --every: found both; allowed: one of them, or none")
    if cron is not None:
        return _by_cron(cron, _zone())
    return Timetable() if every is None else by_interval(every)


def by_interval(every: str) -> Timetable:
    """Return the timetable of runs that begin so much time apart, e.g. ``6 h``.

    Raises
    ------
    InputError
        If that is no length of time, or less than a second.
    """
    try:
        seconds = TypeAdapter(Seconds).validate_python(every)
    except ValidationError as error:
        words = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise InputError(f'--every: {words}, e.g. "6 h"') from None
    if seconds < 1:
        raise InputError(f'--every: found {every!r}; allowed: a second or more, e.g. "6 h"')
    zone = _zone()
    schedule = Interval(timedelta(seconds=seconds), anchor_date=ANCHOR, timezone=zone)
    return Timetable(schedule, f"every {every}, counted from midnight ({zone})")


def _by_cron(line: str, zone: str) -> Timetable:
    try:
        CronSchedule(cron=line, timezone=zone)
    except ValidationError:
        raise InputError(
            f"--cron: found {line!r}; allowed: minute, hour, day, month and weekday, e.g. "
            '"0 2 * * *" for each night at two'
        ) from None
    return Timetable(Cron(line, timezone=zone), f"by cron line {line} ({zone})")


def _zone() -> str:
    return get_localzone_name() or str(UTC)
