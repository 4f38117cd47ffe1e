"""`leadline review`: the picks that wait on a terminal, and what a person decides about them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import typer

from leadline.flows.store_of import open_for
from leadline.flows.verdicts import Decision, Waiting, send_decision, what_waits
from leadline.tasks.errors import InputError
from leadline.tasks.report.formatting import counted

HOW = "leadline review"
Say = Callable[[str], object]


@dataclass(frozen=True)
class Asked:
    """The options of the command, as they were written."""

    approve: str = ""
    veto: Sequence[str] = ()
    why: Sequence[str] = ()
    add: Sequence[str] = ()
    order: str = ""

    @property
    def decision(self) -> Decision:
        """The verdicts that the options hold.

        Raises
        ------
        InputError
            If there is not one reason for all vetoes, nor one for each.
        """
        if self.veto and len(self.why) not in (1, len(self.veto)):
            vetoes = counted(len(self.veto), "veto", "vetoes")
            raise InputError(
                f"--why: found {counted(len(self.why), 'reason')} for {vetoes}; allowed: one for "
                "all, or one for each"
            )
        reasons = self.why if len(self.why) == len(self.veto) else [*self.why] * len(self.veto)
        return Decision(
            approve=_listed(self.approve),
            veto=dict(zip(self.veto, reasons, strict=True)),
            add=self.add,
            order=_listed(self.order),
        )

    @property
    def reason(self) -> str:
        """The reason for what is approved and added."""
        return self.why[0] if len(self.why) == 1 else ""


def reviewed(name: str, asked: Asked, say: Say) -> None:
    """Show what waits, and send what the options say, or what is answered on a terminal.

    Raises
    ------
    InputError
        If there is no campaign of that name, or a rank names no pick that waits.
    """
    decision = asked.decision
    with open_for(write=False) as store:
        waiting = what_waits(store, name)
        if decision.empty:
            say(shown(waiting))
            if waiting.picks and sys.stdin.isatty():
                decision = _answers(waiting)
        if not decision.empty:
            say(send_decision(store, waiting, decision, asked.reason, HOW))


def shown(waiting: Waiting) -> str:
    """Return the picks that wait, for a terminal."""
    if not waiting.picks:
        return f"no picks of {waiting.campaign} wait for review"
    rounds = " and ".join(f"round {each}" for each in waiting.rounds)
    lines = [
        f"{counted(len(waiting.picks), 'pick')} of {waiting.campaign} for {rounds} "
        f"({waiting.silence}):"
    ]
    for each in waiting.picks:
        lines.append(f"{each.rank:>5}  {each.formula}  {each.space_group}  {each.structure[:12]}")
        lines.append(f"       {each.words}")
    lines.append(
        f"Decide: leadline review {waiting.campaign} --approve all, or --approve RANK,..., "
        "--veto RANK --why TEXT, --add ID"
    )
    return "\n".join(lines)


def _answers(waiting: Waiting) -> Decision:
    """Ask about one pick after the other; Enter leaves a pick as it is."""
    approve, veto = [], {}
    for each in waiting.picks:
        question = f"{each.rank} {each.formula}: approve, veto or skip? [a/v/S]"
        answer = typer.prompt(question, default="s", show_default=False).strip().lower()
        if answer.startswith("a"):
            approve.append(each.rank)
        elif answer.startswith("v"):
            veto[each.rank] = typer.prompt("  why not?")
    return Decision(approve=approve, veto=veto)


def _listed(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()]
