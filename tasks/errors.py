"""What can go wrong in the steps of the loop.

LeadlineError (surrogate/errors.py)
├── InputError                  something a user wrote cannot be used
│   ├── SpecError               a key of the campaign file, named by its YAML path
│   ├── CandidateError          a source of structures
│   └── ProfileError            a machine profile
├── ConfigurationError          an engine, binary or pseudopotential; stops a campaign
├── StoreError                  the record keeping
│   ├── StoreLockedError        another process holds the embedded store
│   ├── StoreServerError        a server does not answer as MongoDB does, or refuses
│   │   └── StoreAwayError      it does not answer at all, or takes no writes for now
│   ├── RecordTooLargeError     a record is larger than a database takes
│   └── ConflictError           a record is not in the state that a change starts from
├── WriteError                  a file that leadline makes has no room, or may not be written
├── SpecChangeError             a changed file would mix labels in one campaign
├── LeaseError                  another driver works on this campaign
├── ServedError                 another process serves this campaign
├── PrefectServerError          no Prefect server answers, or none can be started
├── OracleError                 a backtest asked for an answer before its pick was on record
└── ComputeError                workers or clusters

Each message names the thing, what was found, what is allowed and what to do.
"""

from leadline.surrogate.errors import LeadlineError


class InputError(LeadlineError):
    """Something a user wrote cannot be used."""


class SpecError(InputError):
    """A key of the campaign file is wrong; the message starts with its YAML path."""


class CandidateError(InputError):
    """A source of structures cannot give what is asked of it."""


class ProfileError(InputError):
    """A machine profile is missing or wrong."""


class ConfigurationError(LeadlineError):
    """An engine cannot run as set up: no retry will help, the campaign stops."""


class StoreError(LeadlineError):
    """The record keeping failed."""


class StoreLockedError(StoreError):
    """Another process holds the embedded store for writing."""


class StoreServerError(StoreError):
    """A database server refuses, or does not answer as MongoDB does."""


class StoreAwayError(StoreServerError):
    """A database server is away, and patience has ended; what it holds is as it was."""


class RecordTooLargeError(StoreError):
    """A record is larger than a database takes: 16 MB on every server."""


class ConflictError(StoreError):
    """A record is not in the state that the change asked for starts from."""


class WriteError(LeadlineError):
    """A file that leadline makes has no room on its disk, or may not be written."""


class SpecChangeError(LeadlineError):
    """A changed campaign file would mix labels that must not be mixed."""


class LeaseError(LeadlineError):
    """Another driver works on this campaign."""


class ServedError(LeadlineError):
    """Another process serves this campaign."""


class PrefectServerError(LeadlineError):
    """No Prefect server answers where one should, or none can be started."""


class OracleError(LeadlineError):
    """A backtest asked for an answer before its pick was on record."""


class ComputeError(LeadlineError):
    """Workers or clusters cannot do what is asked."""
