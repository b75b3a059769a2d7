"""The charts' check list: 90 points, which tests prove each, or why none does yet. Writes docs/reference/chart-checklist.md
and the table of docs/explanation/critiques.md.

Tests carry ``@pytest.mark.point(number)``; they are found in the source, so the page cannot name one that does not exist. Called by
ci/generate.sh and `test_checklist`.
"""

import ast
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reference" / "chart-checklist.md"
CRITIQUES = ROOT / "docs" / "explanation" / "critiques.md"
BEGIN, END = "<!-- points: begin, written by make generate from tests/charts/checklist.py -->\n", "<!-- points: end -->\n"


class Point(NamedTuple):
    """A promise; `missing` tells what of it no test in tests/charts proves, and where it is or why not."""

    sentence: str
    missing: str = ""


GROUPS: dict[str, dict[int, Point]] = {
    "Metadata and layout": {
        1: Point("`helm lint --strict` is clean: defaults and every `ci/*-values.yaml`, both Helms"),
        2: Point("Chart.yaml is complete"),
        3: Point("Its URLs are absolute https; pyhelm3 loads each chart"),
        4: Point("`version`, `appVersion` and the crew's dependency are the project's version"),
        5: Point("The annotations for Artifact Hub are valid, with definition and example of the resource"),
        6: Point("`artifacthub.io/images` are the images rendered by default"),
        7: Point("A package holds allowed files only"),
        8: Point("Each chart has README, values, schema, NOTES, helpers and `ci/`; those of operator and gateway have test pods"),
        9: Point("One object per template, its kind in the file's name; a role per watched namespace is the exception"),
        10: Point("Every named template begins with the chart's name"),
        11: Point("Templates have no tabs, trailing blanks or non-ASCII; yamllint finds nothing"),
        12: Point("Helm 4 packages twice to the same bytes; a release's packages are the same by either Helm"),
    },
    "Values and schema": {
        13: Point("The schema is draft 07 without newer keywords, its expressions Go's"),
        14: Point("Root and fixed objects are closed; free maps are of listed kinds"),
        15: Point("Defaults, `ci/` files, examples and compiled flows satisfy the schema"),
        16: Point("Bad values are refused by both Helms with a message that names the key"),
        17: Point("Leaves of values and schema are the same, each described"),
        18: Point("Schemas, tables and copies are what `make generate` writes"),
        19: Point("Every value changes some render"),
        20: Point("Every map may be `null`: it renders, or a sentence says why not"),
        21: Point("No list where users overlay; a second file adds an entry to each map"),
        22: Point("10485760 survives, from a file and by `--set`"),
        23: Point('`"true"`, `"1e3"`, `"0755"`, `"null"` and names such as `y`, `on` reach the environment as they are'),
        24: Point(
            "No key of the previous release is gone; one that is removed or renamed fails with its new name",
            "nothing has been removed or renamed yet",
        ),
        25: Point("As subchart: `global`, `condition`, two aliases, names and selectors distinct"),
        26: Point("Every sentence against contradictory values is tested"),
    },
    "Names, labels, selectors": {
        27: Point("53 characters are accepted (52 for a StatefulSet), one more is refused; other charts' names fit"),
        28: Point("Every object has the recommended labels"),
        29: Point("Selectors are the recorded ones"),
        30: Point("No version, chart or user label in selectors; no `helm.sh/chart` in pods"),
        31: Point("Each selector matches exactly its pods"),
        32: Point("Label values are legal whatever the tag"),
        33: Point("Every namespaced object names its namespace"),
    },
    "Workloads": {
        34: Point("Every container is restricted, with a read-only root: ours, and those that the operator makes"),
        35: Point("Requests and memory limits everywhere, a size on what is written"),
        36: Point("Probes on every long-running container; ports named and there"),
        37: Point("A token only where the API is called; no service links"),
        38: Point("Images: never `latest`; appVersion, digest, registry, pull secrets"),
        39: Point("No `replicas` where something scales; 0 is honoured"),
        40: Point("Checksums change exactly with the data"),
        41: Point("A disruption budget only above one pod, with one limit"),
        42: Point("Every key of placement reaches every pod"),
        43: Point("Labels, annotations, environment, volumes and containers are rendered as templates"),
        44: Point("`extraObjects`: text and object, both rendered"),
        45: Point("Operator: Lease, rolling update; gateway on SQLite: one pod, recreated, a volume that stays"),
        46: Point("An actor's pod has its timeout and 30 s to finish"),
    },
    "Rights": {
        47: Point("No `*`, cluster-admin, escalate, bind, impersonate"),
        48: Point("No rule on Secrets; rules are the recorded ones"),
        49: Point("Scope namespace: no ClusterRole but the aggregates; Roles in exactly the named namespaces"),
        50: Point("Rights and account may be made by others"),
        51: Point("Verbs used in the operator's tests and by all stories are the verbs granted"),
        52: Point("Aggregated roles, switchable"),
    },
    "Resource definition": {
        53: Point("Templated: `enabled`, `keep`, `annotations`"),
        54: Point("Made from the Python model"),
        55: Point("Typed, unknown fields on listed paths only; columns, short name, status; no scale, no category"),
        56: Point("Definition under 256 KiB, release under 512 KiB"),
        57: Point("Against the last release nothing is removed, narrowed or newly required"),
        58: Point("Examples are accepted, bad ones refused; defaults are the chart's"),
        59: Point("Uninstalling keeps definition and AsyncActors"),
    },
    "Network, observability": {
        60: Point("NetworkPolicy: name service, API server and broker remain; the pairs are documented"),
        61: Point("Render modes of PodMonitor and PrometheusRule, with and without the API"),
        62: Point("Alerts: exported metrics only, all texts, runbooks that resolve"),
        63: Point("Dashboard: parses, has a uid, no fixed data source, exported metrics only"),
        64: Point("Ports are named, with their protocol; Ingress and HTTPRoute lead to the public one, TLS"),
    },
    "Scaling": {
        65: Point("Triggers are texts, objects valid against KEDA's own definitions"),
        66: Point("The right trigger and authentication per transport, no password in it"),
        67: Point("All of `scaling` passes through"),
        68: Point(
            "Without a management URL the cool-down is the timeout and 60 s", "told in the status: python/operator/tests/test_conditions.py"
        ),
    },
    "GitOps": {
        69: Point("Ten renders give the same bytes; both Helms do"),
        70: Point("No lookup, chance, certificate, clock or revision in templates"),
        71: Point("The only hooks are tests, with a delete policy and a switch"),
        72: Point("A render is what an installation applies"),
        73: Point("All of `examples/gitops` renders to AsyncActors, the same by Argo CD and by Flux"),
        74: Point("The Lua health check knows every state and every reason"),
        75: Point("No difference at 0, N, 0 pods"),
        76: Point("Wave and sync options can be set on the AsyncActor"),
    },
    "Supply chain": {
        77: Point("A release writes `image.digest`"),
        78: Point("Provenance and signing are scripted"),
        79: Point(
            "Bill of materials, pinned actions, least rights",
            "`.ci/run` calls make; there is no workflow of a forge whose actions could be pinned",
        ),
        80: Point("A changed chart has a new version; the change log agrees"),
        81: Point("UPGRADE.md has a section per version that asks for something, with commands"),
    },
    "Use": {
        82: Point("NOTES: each warning where it belongs and only there; what they name exists"),
        83: Point("Test pods: the component's own image, inside its network policy"),
        84: Point("Every example renders, is valid on Kubernetes 1.29 to 1.36, is documented"),
        85: Point("No API that is deprecated or absent in a supported Kubernetes"),
        86: Point("Install, message, zero, upgrade, rollback, uninstall on a cluster"),
        87: Point("Skips name the command to run", "their number in CI is not asserted"),
        88: Point("The first commands work as printed: three values, two values"),
        89: Point("Every documented command on charts renders"),
        90: Point("Each chart renders in a second, the suite in one minute", "speed is measured, not asserted: make charts prints it"),
    },
}
POINTS = {number: point for group in GROUPS.values() for number, point in group.items()}


@cache
def marks() -> dict[int, list[tuple[str, str]]]:
    """(file, test) by point, read from the source once."""
    found: dict[int, list[tuple[str, str]]] = {}
    for file in [path for folder in ("charts", "e2e", "release") for path in sorted((ROOT / "tests" / folder).rglob("test_*.py"))]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                for mark in node.decorator_list:
                    if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.point":
                        number = ast.literal_eval(mark.args[0])
                        found.setdefault(number, []).append(
                            (file.name if file.parent.name == "charts" else f"{file.parent.name}/{file.name}", node.name)
                        )
    return found


def page() -> str:
    """The page as Markdown."""
    proved = marks()
    whole = sum(1 for number, point in POINTS.items() if number in proved and not point.missing)
    partly = sum(1 for number, point in POINTS.items() if number in proved and point.missing)
    lines = [
        "# Check list of the charts",
        "",
        "For reviewers. What the [charts](charts.md) keep, point by point, and the tests in `tests/charts/` that prove it. Those in",
        "`release/` are in `tests/release/`; those in `e2e/` are in `tests/e2e/` and need the test cluster. Made by",
        "`python -m tests.charts.checklist` from the tests' own marks; a point without a test says why.",
        "",
        f"{whole} of {len(POINTS)} points are proved, {partly} more in part.",
    ]
    for letter, (group, points) in zip("ABCDEFGHIJK", GROUPS.items(), strict=True):
        lines += ["", f"## {letter}. {group}", "", "| | point | proved by | missing |", "|---|---|---|---|"]
        for number, point in points.items():
            names = "<br>".join(f"`{file}::{name}`" for file, name in proved.get(number, []))
            lines.append(f"| {number} | {point.sentence} | {names} | {point.missing} |")
    return "\n".join(lines) + "\n"


def critiques() -> str:
    """The page of our flaws with a row for each point that no test proves, or not wholly."""
    proved = marks()
    lines = ["\n", "| | point | proved | why not |\n", "|---|---|---|---|\n"]
    lines += [
        f"| {number} | {point.sentence} | {'in part' if number in proved else 'no'} | {point.missing} |\n"
        for number, point in POINTS.items()
        if point.missing or number not in proved
    ]
    before, _, rest = CRITIQUES.read_text(encoding="utf-8").partition(BEGIN)
    return f"{before}{BEGIN}{''.join(lines)}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    CRITIQUES.write_text(critiques(), encoding="utf-8")
