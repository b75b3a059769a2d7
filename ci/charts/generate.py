"""Writes what is made from the charts' values: values.schema.json, the table of README.md, the shared template; and copies the runtime.

Called by ci/generate.sh. `shared.tpl` is written into each chart with the chart's name in place of CHART.
"""

import json
import shutil
from pathlib import Path

import readme
import schema
import values_file

ROOT = Path(__file__).resolve().parents[2]
CHARTS = {
    "asya-actor": "One actor. The release's name is the actor's name.",
    "asya-operator": "The operator, its rights and its settings.",
    "asya-crew": "The two end actors of a namespace.",
    "asya-gateway": "The gateway of a namespace: tools, store, access.",
}
SHARED = ("asya-actor", "asya-operator", "asya-gateway")


def main() -> None:
    actor = None
    for chart, description in CHARTS.items():
        folder = ROOT / "charts" / chart
        keys = values_file.read(folder / "values.yaml")
        made = schema.schema(chart, description, keys, actor=actor)
        actor = actor or made
        (folder / "values.schema.json").write_text(json.dumps(made, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        (folder / "README.md").write_text(readme.with_table(folder / "README.md", keys), encoding="utf-8")
    shared = (ROOT / "ci" / "charts" / "shared.tpl").read_text(encoding="utf-8")
    for chart in SHARED:
        (ROOT / "charts" / chart / "templates" / "_shared.tpl").write_text(shared.replace("CHART", chart), encoding="utf-8")
    shutil.copyfile(ROOT / "python" / "runtime" / "asya_runtime.py", ROOT / "charts" / "asya-operator" / "files" / "asya_runtime.py")


if __name__ == "__main__":
    main()
