"""The table of states, walked from end to end, and the page that explains it."""

import re
from itertools import product
from pathlib import Path

import pytest

from asya_core.wire.errors import Bug
from asya_sidecar.lifecycle import TRANSITIONS, Happening, State, next_state

PAGE = Path(__file__).parents[4] / "docs/reference/sidecar-lifecycle.md"


@pytest.mark.parametrize(("state", "happening"), list(product(State, Happening)))
def test_each_pair_leads_where_the_table_says_or_is_a_bug(state: State, happening: Happening) -> None:
    if happening in TRANSITIONS[state]:
        assert next_state(state, happening) is TRANSITIONS[state][happening]
    else:
        with pytest.raises(Bug, match=f"{state} cannot be {happening}"):
            next_state(state, happening)


def test_each_state_but_the_first_is_reached_and_each_but_the_last_is_left() -> None:
    reached = {after for row in TRANSITIONS.values() for after in row.values()}
    assert reached == set(State) - {State.NEW}
    assert [state for state in State if not TRANSITIONS[state]] == [State.SETTLED]


def test_each_happening_happens() -> None:
    assert {happening for row in TRANSITIONS.values() for happening in row} == set(Happening)


def test_reference_page_has_exactly_these_rows() -> None:
    rows = re.findall(r"^\| `([a-z]+)` \| ([a-z ]+?) \| `([a-z]+)` \|", PAGE.read_text(), re.MULTILINE)
    table = [(str(state), str(happening), str(after)) for state, row in TRANSITIONS.items() for happening, after in row.items()]
    assert rows == table
