"""Judges a promotion a second time, by the policy of an earlier revision of the project.

Whoever changes the policy and promotes under it in one change is told so; where the earlier
policy would not have let the version in, that is a flaw. The policy goes first, in a change of
its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from llmops_cli.core.policy import Environment, policy_changes
from llmops_cli.core.release import BASELINE, SUBJECT, EvalsetFacts, Event, Evidence
from llmops_cli.core.verdict import Decision, Verdict
from llmops_cli.project.policy import policy_of
from llmops_cli.project.project import Project
from llmops_cli.registry.recompute import BaselineCandidate, verdict_of
from llmops_cli.registry.verify import Flaw
from llmops_cli.stores.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierPolicy:
    """The project as it was at the revision `base`."""

    registry: Registry
    rules: Project
    base: str

    def judge(self, event: Event) -> Iterator[Flaw]:
        """What the earlier policy has to say about `event`. Raises `IntegrityBroken`."""
        if event.action != "promote":
            return
        environment = self._environment(event)
        if environment is None:
            return
        where = str(self.registry.event_file(event).relative_to(self.registry.folder.parent))
        for message in self._bypassed(event, environment):
            yield Flaw(where=where, message=message)
        yield from self._left_out(event, where)
        earlier = [self._earlier(each, environment) for each in event.judged_by]
        changes = [
            f"{now.evalset}: {change}"
            for now, then in zip(event.judged_by, earlier, strict=True)
            for change in policy_changes(then.policy, now.policy)
        ]
        if changes:
            told = f"the policy changed since {self.base} too ({'; '.join(changes)})"
            yield self._second_verdict(event, earlier, where, told)

    def _left_out(self, event: Event, where: str) -> Iterator[Flaw]:
        """The evalsets that gated the prompt then and have no say any more."""
        decided = {each.evalset for each in event.judged_by}
        retired = {each for facts in event.judged_by for each in facts.retired}
        for name in self.rules.evalsets_of(event.prompt):
            if name not in decided:
                yield Flaw(
                    where=where,
                    message=f"at {self.base}, {name} gated {event.prompt}, and it was not asked. "
                    "Take it away first, in a change of its own",
                    doubtful=name in retired,
                )

    def _second_verdict(
        self, event: Event, earlier: list[EvalsetFacts], where: str, told: str
    ) -> Flaw:
        verdict = self._verdict(event, earlier)
        if verdict is None:
            message = f"{told}, and the rows to judge by the earlier one are not here"
            return Flaw(where=where, message=message)
        if verdict.decision in _admitted(event):
            message = f"{told}; by the earlier one it is {verdict.decision.value} as well"
            return Flaw(where=where, message=message, doubtful=True)
        message = (
            f"{told}; by the earlier one it is {verdict.decision.value}: {verdict.why}. "
            "Change the policy first, in a change of its own"
        )
        return Flaw(where=where, message=message)

    def _verdict(self, event: Event, earlier: list[EvalsetFacts]) -> Verdict | None:
        known = self._evidence(event.prompt)
        pieces = [known.get(each) for each in (*event.evidence, *event.baseline_evidence)]
        found = [each for each in pieces if each and self.registry.has_rows(each)]
        if not found or len(found) < len(pieces):
            return None
        opponent = BaselineCandidate(found[-1], SUBJECT if event.baseline_evidence else BASELINE)
        ran = event.from_version
        return verdict_of(self.registry, found[0], None if ran is None else opponent, earlier)

    def _evidence(self, name: str) -> Mapping[str, Evidence]:
        return {
            each.digest: each
            for number in self.registry.numbers(name)
            for each in self.registry.evidence(name, number)
        }

    def _earlier(self, facts: EvalsetFacts, environment: Environment) -> EvalsetFacts:
        header = self.rules.evalsets.get(facts.evalset)
        gate = header.gate if header else {}
        return replace(facts, policy=policy_of(self.rules.gate, gate, environment.gate))

    def _environment(self, event: Event) -> Environment | None:
        """The environment as it was; None: it is new, and was nobody's promise."""
        places = self.rules.environments
        return next((each for each in places if each.name == event.environment), None)

    def _bypassed(self, event: Event, environment: Environment) -> Iterator[str]:
        if environment.accept == "pass" and event.accept_inconclusive:
            yield f"at {self.base}, {environment.name} accepts nothing but PASS"
        if environment.after is not None and event.came_from is None:
            yield (
                f"at {self.base}, {environment.name} comes after {environment.after}, and no "
                "event of that is cited"
            )


def _admitted(event: Event) -> frozenset[Decision]:
    """The verdicts that let it in: what somebody answered for counts here too."""
    if event.accept_inconclusive or event.initial:
        return frozenset({Decision.PASS, Decision.INCONCLUSIVE})
    return frozenset({Decision.PASS})
