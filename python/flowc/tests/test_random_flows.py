"""Random flows: whatever the grammar draws does in the mesh what it does as plain Python. `ASYA_FLOWS=5000` widens the search."""

import ast
import os
import random

import pytest
from flow_grammar import flows, payloads
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from oracle import compiled, folded, mesh, plain

from asya_flowc import Options, compile_source

COUNT = int(os.environ.get("ASYA_FLOWS", "100"))
settings.register_profile(
    "flows",
    max_examples=COUNT,
    deadline=None,
    derandomize=COUNT <= 200,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
settings.load_profile("flows")


@pytest.mark.unmeasured
@pytest.mark.timeout(120 + COUNT // 5)
@pytest.mark.parametrize("half", [0, 1])
def test_random_flow_runs_as_plain_python(half: int) -> None:
    """In two halves, for the two workers of a run; the wide search begins elsewhere each time."""
    drawn = given(text=flows(), payload=payloads(), skips=st.booleans())(runs_as_plain_python)
    seed(half if COUNT <= 200 else random.getrandbits(64))(settings(max_examples=(COUNT + 1) // 2)(drawn))()


def runs_as_plain_python(text: str, payload: dict[str, object], skips: bool) -> None:
    options = Options(max_iterations=5, infinite_loop_check=False, end_router="skip" if skips else "route")
    done = compiled(text, options)
    warned = {one.code for one in done.warnings}
    expected = plain(text, done, payload, bound=5)
    if expected.final is None and not expected.error and "W312" in warned:  # plain Python gives None at the end of the body
        expected = plain(text + "    return p\n", done, payload, bound=5)
    for one in (done, folded(done, options)):
        found = mesh(one, payload, redeliver=True)
        assert (found.seen, found.final, found.error) == (expected.seen, expected.final, expected.error), text


@given(text=flows())
@settings(max_examples=max(20, COUNT // 10))
def test_reformatted_flow_changes_only_line_numbers(text: str) -> None:
    def shape(one: str) -> list[tuple[str, list[str]]]:
        return [
            (router.kind, [line.code for line in router.body])
            for router in compiled(one, Options(infinite_loop_check=False)).program.routers
        ]

    assert sorted(shape(text)) == sorted(shape(ast.unparse(ast.parse(text))))


@given(text=flows(), cut=st.integers(0, 400), junk=st.sampled_from(("", "(", "\0", "é = ", "    ", "\t:", '"""', "return", "def f(")))
@settings(max_examples=max(20, COUNT // 2))
def test_mangled_source_ends_in_diagnostics_never_in_a_traceback(text: str, cut: int, junk: str) -> None:
    where = cut % (len(text) + 1)
    compile_source(text[:where] + junk + text[where + 1 :], "flow.py")
