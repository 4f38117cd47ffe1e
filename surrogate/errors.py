"""What can go wrong in the mathematics.

LeadlineError                   everything that leadline raises on purpose
├── SurrogateError              the mathematics refuses its input
│   ├── DescriptorError         a structure cannot be described, or not told apart
│   ├── FitError                no model could be fitted
│   └── HullError               a hull is asked for where none exists
└── (tasks/errors.py)           the steps of the loop

Each message names the thing, what was found, what is allowed and what to do.
"""


class LeadlineError(Exception):
    """Base of every error that leadline raises on purpose."""


class SurrogateError(LeadlineError):
    """The mathematics refuses its input."""


class DescriptorError(SurrogateError):
    """A structure cannot be described, or two cannot be told apart."""


class FitError(SurrogateError):
    """No model could be fitted to the labels."""


class HullError(SurrogateError):
    """A convex hull is asked for where none exists."""
