"""Document routing: by what a document is, then by what is in it."""


def document_flow(p: dict) -> dict:
    """Bring a document to the department that deals with it."""
    p = detect_type(p)
    if p["type"] == "invoice":
        p = read_invoice(p)
        if p["amount"] > 10000:
            p["flags"] = ["second signature"]
        p["department"] = "accounting"
    elif p["type"] in ("contract", "amendment"):
        p = read_contract(p)
        p["department"] = "legal"
    elif p["type"] == "application":
        p["department"] = "people"
    else:
        p = ask_a_person(p)
        return p
    p = file_document(p)
    return p


def detect_type(p: dict) -> dict:
    text = p["text"].lower()
    return {**p, "type": next((kind for kind in ("invoice", "amendment", "contract", "application") if kind in text), "unknown")}


def read_invoice(p: dict) -> dict:
    amounts = [word.replace(",", "") for word in p["text"].split() if word.replace(",", "").replace(".", "", 1).isdigit()]
    return {**p, "amount": max((float(amount) for amount in amounts), default=0.0)}


def read_contract(p: dict) -> dict:
    words = p["text"].split()
    return {**p, "parties": [words[i + 1].strip(".,") for i, word in enumerate(words[:-1]) if word in ("between", "and")]}


def ask_a_person(p: dict) -> dict:
    return {**p, "department": "mail room", "question": f"What is this? {p['text'][:40]}"}


def file_document(p: dict) -> dict:
    return {**p, "path": f"{p['department']}/{p['type']}/{p['id']}"}
