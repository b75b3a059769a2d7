"""Extract, transform, load with a turn per item: each row passes the same actors."""


def etl_flow(p: dict) -> dict:
    """Read rows of CSV, convert each, sum them up."""
    p = extract(p)
    p["loaded"] = []
    p["skipped"] = 0
    for row in p["rows"]:
        if not row["amount"]:
            p["skipped"] += 1
            continue
        p["row"] = row
        p = convert_currency(p)
        p["loaded"].append(p["row"])
    p = load(p)
    return p


RATES = {"EUR": 1.0, "USD": 0.9, "GBP": 1.2}


def extract(p: dict) -> dict:
    head, *lines = p["csv"].strip().splitlines()
    names = head.split(",")
    return {**p, "rows": [dict(zip(names, line.split(","), strict=True)) for line in lines]}


def convert_currency(p: dict) -> dict:
    row = p["row"]
    return {**p, "row": {"order": row["order"], "eur": round(float(row["amount"]) * RATES[row["currency"]], 2)}}


def load(p: dict) -> dict:
    return {"orders": p["loaded"], "total": round(sum(row["eur"] for row in p["loaded"]), 2), "skipped": p["skipped"]}
