"""What the errors of a database's libraries mean, and what to do about them, in words.

A server's own text may quote what was sent to it, so little of it is shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bson.errors import BSONError
from mongoengine.errors import MongoEngineException, NotUniqueError, ValidationError
from pymongo.errors import (
    ConfigurationError,
    ConnectionFailure,
    DocumentTooLarge,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
)

from leadline.tasks.errors import RecordTooLargeError, StoreAwayError, StoreError, StoreServerError

_PASSING = {
    6: "HostUnreachable",
    7: "HostNotFound",
    43: "CursorNotFound",
    89: "NetworkTimeout",
    91: "ShutdownInProgress",
    262: "ExceededTimeLimit",
    9001: "SocketException",
    11600: "InterruptedAtShutdown",
    11602: "InterruptedDueToReplStateChange",
}
_NO_WRITES = {
    64: "WriteConcernFailed",
    189: "PrimarySteppedDown",
    10107: "NotWritablePrimary",
    13435: "NotPrimaryNoSecondaryOk",
    13436: "NotPrimaryOrSecondary",
    14031: "OutOfDiskSpace",
}
"""Codes by which a server says that it is the wrong moment, not the wrong question."""
_LOGIN = {18: "AuthenticationFailed", 8000: "AtlasError"}
_RIGHTS = {13: "Unauthorized"}
_TOO_LARGE = {10334, 17419, 17420}
"""Codes of a document that outgrew what a server takes."""
_SYSTEM = re.compile(r"\[(Errno|SSL)[^]]*\][^(,:]*|timed out")
"""What the system said of a connection, within the driver's words."""
_UNFIT = (ValidationError, BSONError)
"""What a record raises that no database takes; neither is of its library's base class."""


def is_away(error: BaseException) -> bool:
    """Tell whether an error says that the server is away for now, and nothing of the question."""
    cause = _cause(error)
    return isinstance(cause, ConnectionFailure) or _code(cause) in _PASSING | _NO_WRITES


def is_denied(error: BaseException) -> bool:
    """Tell whether an error says that this user may not do this here."""
    return _code(_cause(error)) in _LOGIN | _RIGHTS


def away_words(error: BaseException) -> str:
    """Return in words what a server does that is away."""
    cause = _cause(error)
    refuses = isinstance(cause, NotPrimaryError) or _code(cause) in _NO_WRITES
    return "takes no writes" if refuses else "does not answer"


def reason_words(error: BaseException) -> str:
    """Return why, as far as is known; hosts are left out, which may hold a mistyped password."""
    cause = _cause(error)
    if isinstance(cause, OperationFailure):
        return (_PASSING | _NO_WRITES).get(cause.code or 0, type(cause).__name__)
    system = _SYSTEM.search(str(cause))
    return f"{type(cause).__name__}: {system[0].strip()}" if system else type(cause).__name__


def _denied_words(location: str, error: OperationFailure) -> str:
    """Return what to do about a server that refuses what no patience would change."""
    if error.code in _LOGIN:
        return (
            f"{location} does not let this user in ({_LOGIN[error.code]}); check user, password "
            "and authSource in the URI, with : / ? # [ ] @ in user and password escaped by percent"
        )
    if error.code in _RIGHTS:
        return (
            f"{location} does not allow this ({_RIGHTS[error.code]}); name user and password in "
            "the URI, and give the user the role readWrite on this database"
        )
    return f"{location} refused ({type(error).__name__}): {error}"


@contextmanager
def explained(location: str) -> Iterator[None]:
    """Turn what a database library raises into errors of leadline; NotUniqueError stays."""
    try:
        yield
    except NotUniqueError:
        raise
    except (PyMongoError, *_UNFIT, MongoEngineException) as error:
        raise _in_words(location, error) from error


def _in_words(location: str, error: Exception) -> StoreError:
    cause = _cause(error)
    named = f"({type(cause).__name__}): {error}"
    if isinstance(cause, DocumentTooLarge) or _code(cause) in _TOO_LARGE:
        return RecordTooLargeError(
            f"a record is too large for {location} {named}; large things belong among the artefacts"
        )
    if is_away(error):
        return StoreAwayError(
            f"{location} {away_words(error)} ({reason_words(error)}); check that the server runs, "
            "the host, the port and the network between"
        )
    if isinstance(cause, OperationFailure):
        return StoreServerError(_denied_words(location, cause))
    if isinstance(cause, ConfigurationError):  # the server's version; no address is in its text
        return StoreServerError(f"{location} is of no use: {cause}")
    if isinstance(cause, PyMongoError):
        return StoreServerError(f"{location} refused {named}")
    return StoreError(f"a record cannot be stored in {location} {named}")


def _cause(error: BaseException) -> Any:
    """Return the driver's error: mongoengine wraps some in errors of its own."""
    driver = (PyMongoError, *_UNFIT)
    return error if isinstance(error, driver) else error.__context__ or error


def _code(cause: Any) -> int | None:
    return cause.code if isinstance(cause, OperationFailure) else None
