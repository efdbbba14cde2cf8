"""A mistake in one setting, as a value that names the setting.

Command line flags, keys of the configuration file, and fields of the API and of forms are other names for the same
settings; `policy/fields.py` maps the setting names used here to them.
"""

from collections.abc import Iterable, Sequence

import msgspec

MAX_PROBLEMS, MAX_TEXT = 16, 400
"""Maximum number of problems that one refusal reports to an agent by setting, and maximum length of each text in ASCII
characters. JSON needs two bytes for a quote: 16 x (400 x 2 + 40 for the setting's name) = 14 KB of the 64 KiB of a
control message. The agent sees further problems once these are corrected."""


class Problem(msgspec.Struct, frozen=True):
    """One mistake in a setting.

    Attributes:
        field: Name of the setting in `PolicySpec`, with dots: `oidc.issuer`, `cidr_allow`, `request_headers.add`.
        text: Description of the mistake for display. Never contains a secret.
    """

    field: str
    text: str

    @property
    def part(self) -> str:
        """The first part of the setting's name, such as `oidc` for `oidc.issuer`."""
        return self.field.partition(".")[0]

    def __str__(self) -> str:
        """Return `setting: text`, the form that agents of earlier releases expect in a refusal's message."""
        return f"{self.part}: {self.text}"


def first_ones(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    """Return the first problems, at most MAX_PROBLEMS, with their texts cut to MAX_TEXT characters."""
    return tuple(Problem(problem.field, _ascii(problem.text)[:MAX_TEXT]) for problem in problems[:MAX_PROBLEMS])


def _ascii(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode("ascii")


def joined(problems: Iterable[Problem]) -> str:
    """Join all problems into one text, separated by semicolons."""
    return "; ".join(map(str, problems))
