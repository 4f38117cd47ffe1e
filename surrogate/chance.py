"""What a search at random is expected to need, draws without replacement."""

from __future__ import annotations


def expected_random_draws(pool: int, targets: int, found: int) -> float:
    """Return the mean number of random draws until ``found`` of the targets are drawn.

    Of N candidates K are targets; the r-th target stands at place r (N + 1) / (K + 1)
    on average (negative hypergeometric). Where K is what a campaign found, the
    number is conditional on those finds: how many there are in all is not known.

    Raises
    ------
    ValueError
        Unless 0 <= found <= targets <= pool.
    """
    if not 0 <= found <= targets <= pool:
        raise ValueError(
            f"found {found} of {targets} targets among {pool} candidates; "
            "needed is 0 <= found <= targets <= pool"
        )
    return found * (pool + 1) / (targets + 1)
