"""Which text may be a summary."""

import pytest

from chatcore.domain.summary import SECTIONS, fault_of

GOOD = "## Facts\n- Lives in Rome.\n\n## Numbers\n- 42"


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize("form", ["## {}", "##{}", "# {}:", "**{}**", "**{}:**", "{}", "  ## {}  "])
def test_one_of_the_sections_under_a_heading_of_its_own_is_enough(section: str, form: str) -> None:
    for name in (section, section.lower(), section.upper()):
        assert fault_of(f"Notes\n\n{form.format(name)}\n- Something.", 100, len) is None


def test_it_may_have_just_as_many_tokens_as_are_allowed() -> None:
    assert fault_of(GOOD, len(GOOD), len) is None
    fault = fault_of(GOOD, len(GOOD) - 1, len)
    assert fault == f"it has {len(GOOD)} tokens, {len(GOOD) - 1} are allowed"


@pytest.mark.parametrize("text", ["", " ", "\n\n\t", "\u3000"])
def test_an_empty_one_is_none(text: str) -> None:
    assert fault_of(text, 100, len) == "it is empty"


@pytest.mark.parametrize(
    "text",
    [
        "I am sorry, but I cannot do that.",
        "The facts are these: he lives in Rome.",
        "Facts and figures\nRome",
        "## Summary\nRome",
    ],
)
def test_one_without_any_of_the_sections_is_none(text: str) -> None:
    assert fault_of(text, 100, len) == "it has none of the sections"
