"""What a crash may leave behind, how it is proved, and what is done about it: one table.

The README shows this table, `leadline reconcile --rules` prints it, and each line of
a reconciliation ends in its words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """How one kind of difference is settled.

    Parameters
    ----------
    difference
        What does not agree.
    proof
        What has to be seen before anything is done.
    done
        What is done.
    """

    difference: str
    proof: str
    done: str


RULES: Mapping[str, Rule] = {
    "dead-driver": Rule(
        "a campaign has a driver, and the driver is gone",
        "its host has no process with that pid and start time, or `--gone HOST`",
        "the lease is released and the campaign rests",
    ),
    "silent-driver": Rule(
        "a campaign's driver on another host does not beat",
        "its last beat is more than a minute old",
        "nothing: `leadline run` watches for another minute and takes over",
    ),
    "orphan": Rule(
        "an engine lives, and its guardian does not",
        "its processes carry the attempt's mark, and the guardian's pid and start time are gone",
        "the engine is ended: nobody can use its answer",
    ),
    "answer": Rule(
        "a folder has an answer that the store has not",
        "`result.json` is whole by its checksum, and says converged",
        "the answer is recorded",
    ),
    "over": Rule(
        "an attempt is claimed, and is over without an answer",
        "its guardian signed it off, or its host has no process with that pid and start time",
        "its end is recorded as the engine left it, or as cut",
    ),
    "never-started": Rule(
        "an attempt is claimed, and never took its turn",
        "its driver is gone, or `--gone HOST`",
        "it is recorded as cut",
    ),
    "queued": Rule(
        "an attempt was submitted as a batch job, and never took its turn",
        "its folder names the job",
        "nothing: the next run asks the batch system, and takes it up or records it as cut",
    ),
    "alive": Rule(
        "an engine lives, and no driver waits for it",
        "its guardian is there, or its counter rises",
        "nothing: it finishes, and the next run takes its answer in",
    ),
    "unknown": Rule(
        "an attempt or a claim is on another host, and nothing proves its end",
        "its counter did not rise while it was watched",
        "nothing: it waits until a person says `--gone HOST`",
    ),
    "gone-host": Rule(
        "an attempt of unknown end is on a host that a person says is gone",
        "`--gone HOST`, and no counter and no driver of that host was seen to move",
        "the attempt is signed off and recorded as cut",
    ),
    "unreadable": Rule(
        "a folder does not say who computes there",
        "a turn in it cannot be read",
        "nothing: a person looks and removes the folder",
    ),
    "prefect-run": Rule(
        "Prefect shows a run as running, and its driver is gone",
        "the store's log names the run's driver, which is gone",
        "the run and its open task runs become Crashed",
    ),
}
