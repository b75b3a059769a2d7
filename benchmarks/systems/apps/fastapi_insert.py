"""FastAPI as its documentation shows it: a plain function that checks the body, inserts one row, commits, answers with its id.

``fastapi_insert.py PORT sqlite FILE`` or ``fastapi_insert.py PORT postgres URL``. A connection per thread, durable commits.
"""

import json
import sqlite3
import sys
import threading
import uuid
from typing import Any

import fastapi
import uvicorn

app = fastapi.FastAPI()
local = threading.local()
KIND, PLACE = sys.argv[2], sys.argv[3]
TABLE = "CREATE TABLE IF NOT EXISTS calls (id TEXT PRIMARY KEY, payload TEXT NOT NULL)"


def connection() -> Any:
    if not hasattr(local, "connection"):
        if KIND == "sqlite":
            local.connection = sqlite3.connect(PLACE, timeout=30)
            local.connection.execute("PRAGMA journal_mode = WAL")
            local.connection.execute("PRAGMA synchronous = FULL")
        else:
            import psycopg

            local.connection = psycopg.connect(PLACE)
    return local.connection


@app.post("/tools/{name}", status_code=202)
def call(name: str, payload: dict[str, Any]) -> dict[str, Any]:
    number = uuid.uuid4().hex
    mark = "?" if KIND == "sqlite" else "%s"
    with_row = connection()
    with_row.execute(f"INSERT INTO calls (id, payload) VALUES ({mark}, {mark})", (number, json.dumps(payload)))
    with_row.commit()
    return {"id": number, "tool": name, "status": "pending"}


if __name__ == "__main__":
    connection().execute(TABLE)
    connection().commit()
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
