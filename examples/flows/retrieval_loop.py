"""Retrieval in rounds: search, and widen the question until enough is found or the limit is reached."""

LIMIT = 3


def retrieval_flow(p: dict) -> dict:
    """Find at least two documents for a question."""
    p["round"] = 0
    p["found"] = []
    while len(p["found"]) < 2:
        if p["round"] == LIMIT:
            p["incomplete"] = True
            break
        p["round"] += 1
        p = search(p)
        if len(p["found"]) < 2:
            p = widen(p)
    p = summarize(p)
    return p


CORPUS = {
    "queues.md": "a queue keeps each message until a worker takes it",
    "retry.md": "a failed message is tried again after a pause",
    "scaling.md": "workers grow with the depth of the queue",
}
RELATED = {"backlog": ["queue", "depth"], "error": ["failed"], "autoscaling": ["grow"]}


def search(p: dict) -> dict:
    terms = p.get("terms") or [word for word in p["question"].lower().strip("?").split() if len(word) > 3]
    return {**p, "terms": terms, "found": sorted(name for name, text in CORPUS.items() if set(terms) & set(text.split()))}


def widen(p: dict) -> dict:
    return {**p, "terms": sorted({*p["terms"], *(more for term in p["terms"] for more in RELATED.get(term, []))})}


def summarize(p: dict) -> dict:
    return {**p, "context": [CORPUS[name] for name in p["found"]]}
