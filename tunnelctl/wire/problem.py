"""What is wrong with one setting, as a value: the check that finds the mistake names the setting.

Flags, keys of a file, fields of the API and of forms are names for the same settings: `policy/fields.py` leads from the
name here to each of them.
"""

from collections.abc import Iterable, Sequence

import msgspec

MAX_PROBLEMS, MAX_TEXT = 16, 400
"""Problems that one refusal tells an agent by setting, and characters of each, in ASCII. JSON needs two bytes for a
quote: 16 x (400 x 2 + 40 for the setting's name) = 14 KB of the 64 KiB that a control message may have. The rest
follows when these are corrected."""


class Problem(msgspec.Struct, frozen=True):
    """One mistake.

    Attributes:
        field: The setting, as `PolicySpec` calls it, with dots: `oidc.issuer`, `cidr_allow`, `request_headers.add`.
        text: What is wrong with it, for people. Never a secret.
    """

    field: str
    text: str

    @property
    def part(self) -> str:
        """The setting's first name: `oidc` for everything about a login."""
        return self.field.partition(".")[0]

    def __str__(self) -> str:
        """As agents of earlier releases expect it in a refusal's message."""
        return f"{self.part}: {self.text}"


def first_ones(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    """The first problems, with texts cut, as many as one refusal can hold."""
    return tuple(Problem(problem.field, _ascii(problem.text)[:MAX_TEXT]) for problem in problems[:MAX_PROBLEMS])


def _ascii(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode("ascii")


def joined(problems: Iterable[Problem]) -> str:
    """All of them as one text."""
    return "; ".join(map(str, problems))
