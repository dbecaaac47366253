"""Mistakes met in public code are called WRONG, and named by what they are."""

from pathlib import Path

import pytest
from genuine_mistakes import GENUINE, report
from verdicts import genuine


@pytest.mark.parametrize("each", GENUINE, ids=[each.name for each in GENUINE])
def test_a_genuine_mistake_is_named(each):
    row = report(each).rows[0]
    assert row.status == "WRONG"
    if each.said:
        assert any(each.said in diagnosis for diagnosis in row.diagnoses), str(row)


def test_nine_of_ten_are_named():
    named = [each.name for each in GENUINE if report(each).rows[0].diagnoses]
    assert len(named) >= 0.9 * len(GENUINE)


def test_the_page_says_what_is_said_of_each():
    page = (Path(__file__).parent / "README.md").read_text().splitlines()
    assert [line for line in genuine() if line not in page] == []
