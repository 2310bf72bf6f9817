"""The reward of `ahwatch bah train --recipe grpo`: 1 for exactly the row's `solution`, else 0."""

from swift.rewards import ORM, orms


class AhAnswer(ORM):
    def __call__(self, completions, solution, **kwargs):
        return [1.0 if said.strip() == wanted.strip() else 0.0 for said, wanted in zip(completions, solution)]


orms["ah_answer"] = AhAnswer
