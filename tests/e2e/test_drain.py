"""A change of a flow that removes one actor and renames another, while envelopes are on their way to both: none is stranded."""

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.stage import QUICK, STAGE_VOLUME, Stage
from tests.e2e.waiting import END, WAIT, eventually

pytestmark = pytest.mark.timeout(900)

OLD = """
import os, time

def orders(p: dict) -> dict:
    p = check(p)
    p = enrich(p)
    p = price(p)
    return p


def check(p: dict) -> dict:
    while not os.path.exists("/stage/go"):
        time.sleep(0.05)
    return {**p, "checked": True}


def enrich(p: dict) -> dict:
    return {**p, "enriched": True}


def price(p: dict) -> dict:
    return {**p, "price": 7}
"""
NEW = OLD.replace("    p = enrich(p)\n    p = price(p)\n", "    p = quote(p)\n").replace("def price(", "def quote(")
"""`enrich` is gone and `price` is called `quote`; its code is the same."""

BEFORE, MEANWHILE = 400, 100
"""Envelopes with a route from before the change, and such as come while it is rolled out."""


def _compiled(folder: Path, text: str) -> dict[str, Path]:
    """Values files of all actors of the flow, by actor."""
    folder.mkdir()
    (folder / "orders.py").write_text(text)
    words = ["flow", "compile", "orders.py", "--output-dir", "out", "--stubs"]
    done = subprocess.run([sys.executable, "-m", "asya_cli", *words], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {file.stem: file for file in (folder / "out" / "values").rglob("*.yaml")}


def _deploy(stage: Stage, actors: dict[str, Path], overlay: Path) -> None:
    for name, file in sorted(actors.items()):
        stage.helm.upgrade(stage.namespace, name, "asya-actor", "--install", "--values", str(file), "--values", str(overlay))


def _is_gone(stage: Stage, name: str) -> bool:
    kube, inside = stage.kube, stage.namespace
    return kube.actor(inside, name) is None and kube.wanted(inside, name) == -1 and not kube.pods(inside, name)


def _is_empty(stage: Stage, name: str) -> bool:
    return stage.broker.waiting(stage.queue(name)) == 0


def _is_told(stage: Stage, name: str) -> bool:
    return {"Draining", "Drained"} <= stage.events(name)


@pytest.mark.behaviour("operator:drain")
def test_actors_that_a_change_removes_and_renames_work_on_until_five_hundred_envelopes_have_ended(crewed: Stage, tmp_path: Path) -> None:
    overlay = tmp_path / "overlay.yaml"
    scaling: dict[str, Any] = {**QUICK["scaling"], "maxReplicas": 1}
    overlay.write_text(yaml.safe_dump({**QUICK, **STAGE_VOLUME, "scaling": scaling}))
    old, new = _compiled(tmp_path / "old", OLD), _compiled(tmp_path / "new", NEW)
    assert (set(old) - set(new), set(new) - set(old)) == ({"enrich", "price"}, {"quote"})

    _deploy(crewed, old, overlay)
    for name in old:
        crewed.await_condition(name, "QueueReady", "True")
    ids = crewed.publish("start-orders", *({"n": n} for n in range(BEFORE)))
    eventually("all have the old route", lambda: crewed.broker.waiting(crewed.queue("check")) == BEFORE)

    _deploy(crewed, new, overlay)
    crewed.helm.run(crewed.namespace, "uninstall", "enrich")
    crewed.kube.delete_actor(crewed.namespace, "price", propagation="Foreground")  # as Argo CD prunes by default
    ids += crewed.publish("start-orders", *({"n": n} for n in range(BEFORE, BEFORE + MEANWHILE)))
    for name in ("enrich", "price"):
        draining = crewed.await_condition(name, "Ready", "True", "Draining")
        assert "Deleted, and goes on: " in draining["message"], draining

    crewed.let_go("go")
    eventually("all are stored", lambda: crewed.stored("results") >= set(ids), within=2 * WAIT)
    assert crewed.stored("results") == set(ids)
    assert crewed.stored("errors") == set()
    payloads = [crewed.result(id_)["payload"] for id_ in ids]
    by_old, by_new = {"checked": True, "enriched": True, "price": 7}, {"checked": True, "price": 7}
    assert payloads[:BEFORE] == [{"n": n, **by_old} for n in range(BEFORE)]
    assert all(payload in ({"n": n, **by_old}, {"n": n, **by_new}) for n, payload in enumerate(payloads))

    for name in ("enrich", "price"):
        eventually(f"{name} is gone with its pods", partial(_is_gone, crewed, name), within=END)
        eventually(f"the queue of {name} is retained and empty", partial(_is_empty, crewed, name))
        eventually(f"both events about {name} are there", partial(_is_told, crewed, name))
    crewed.await_condition("quote", "Ready", "True")
    crewed.await_rollout("start-orders")
    (late,) = crewed.publish("start-orders", {"n": -1})
    assert crewed.result(late)["payload"] == {"n": -1, **by_new}


@pytest.mark.behaviour("operator:drain")
def test_namespace_with_messages_for_its_actors_goes_at_once(crewed: Stage) -> None:
    crewed.install_source(
        "held", "held.process", "def process(payload):\n    raise SystemExit(1)\n", scaling={"activationQueueLength": 100}
    )
    crewed.publish("held", {"n": 1}, {"n": 2})
    eventually("both wait", lambda: crewed.broker.waiting(crewed.queue("held")) == 2)
    crewed.kube.delete(f"/api/v1/namespaces/{crewed.namespace}")
    eventually("the namespace is gone", lambda: crewed.kube.get(f"/api/v1/namespaces/{crewed.namespace}") is None)
