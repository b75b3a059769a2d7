"""The comparison of printed and declared metrics finds each kind of difference."""

import pytest

from asya_core.ops.metrics import Label, Registry
from asya_core.testing.exposition import differences


def made() -> Registry:
    registry = Registry("x_", {"actor": "a"})
    registry.counter("done_total", "Done.", (Label(name="outcome", values=("ok", "error")),))
    registry.counter("calls_total", "Calls.", (Label(name="code"),))
    registry.histogram("run_seconds", "Run.", (1,)).observe(0.5)
    return registry


def test_what_a_registry_prints_is_what_it_declares() -> None:
    registry = made()
    assert differences(registry.text(), registry) == []
    calls = registry.metrics[1]
    calls.add('4"0\\0\n')  # type: ignore[attr-defined]
    assert differences(registry.text(), registry) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("# TYPE x_calls_total counter\n", "", "x_calls_total is declared and not printed"),
        ("# TYPE x_calls_total counter\n", "# TYPE x_calls_total gauge\n", "x_calls_total is declared as counter and printed as gauge"),
        ("Calls.", "Calls", "x_calls_total is declared as 'Calls.' and printed as 'Calls'"),
        ("# HELP x_done", "# TYPE x_new gauge\n# HELP x_done", "x_new is printed and not declared"),
        ("# HELP x_done", "x_new 1\n# HELP x_done", "a sample of no declared metric: x_new 1"),
        ("# HELP x_done", "x new 1\n# HELP x_done", "no sample: x new 1"),
        ('outcome="ok"', 'outcome="fine"', 'x_done_total is declared with outcome ok error: x_done_total{actor="a",outcome="fine"} 0'),
        ('outcome="ok"', 'result="ok"', "x_done_total is declared with labels ['actor', 'outcome']:"),
        ('{actor="a",le="1"}', '{actor="a"}', "x_run_seconds is declared with labels ['actor', 'le']:"),
    ],
)
def test_each_difference_is_told(old: str, new: str, said: str) -> None:
    registry = made()
    text = registry.text()
    assert old in text
    assert any(each.startswith(said) for each in differences(text.replace(old, new, 1), registry))
