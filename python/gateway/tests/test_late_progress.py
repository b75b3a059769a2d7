"""What is said of envelopes after their end: in few ways to the database, and in the order in which all replicas take rows."""

from typing import Any

from asya_gateway.store.base import Row
from asya_gateway.store.envelopes import Progress, record_progress


class Told:
    """A transaction in which `ended` are final from the start, and `ending` become so between the look and the move.

    Attributes:
        calls: statements with the ids of their rows, in their order.
    """

    def __init__(self, ended: set[str], ending: set[str]) -> None:
        self._ended, self._ending = ended, ending
        self.calls: list[tuple[str, list[str]]] = []

    def all(self, statement: str, **parameters: Any) -> list[Row]:
        assert statement == "find_states"
        self.calls.append((statement, parameters["ids"]))
        return [
            {"id": each, "status": "succeeded" if each in self._ended else "running", "tool": "t", "parent_id": None, "route": '["a"]'}
            for each in parameters["ids"]
        ]

    def one(self, statement: str, **parameters: Any) -> Row | None:
        raise AssertionError(f"{statement} for one envelope")

    def each(self, statement: str, rows: list[dict[str, Any]]) -> list[Row | None]:
        self.calls.append((statement, [row["id"] for row in rows]))
        if statement == "move_on":
            return [None if row["id"] in self._ending else {"seq": 2, "progress": 50.0} for row in rows]
        return [{"seq": 3, "status": "succeeded", "progress": 100.0, "route": '["a"]'} for _ in rows]

    def many(self, statement: str, rows: list[dict[str, Any]]) -> None:
        self.calls.append((statement, [row["envelope_id"] for row in rows]))


def test_rows_are_taken_in_one_order_also_those_that_ended_meanwhile() -> None:
    tx = Told(ended={"b", "d"}, ending={"a", "c"})
    reports = [Progress(id=each, actor="a", hop=0, attempt=1, state="running") for each in "edcba"]
    assert record_progress(tx, reports, 1) == list("abcde")
    assert tx.calls == [
        ("find_states", list("abcde")),
        ("move_on", list("ace")),
        ("late_progress", list("abcd")),
        ("insert_events", list("eabcd")),
    ]
