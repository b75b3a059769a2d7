"""Validation with early returns: what is wrong leaves the flow at once, with the reason."""


def order_flow(p: dict) -> dict:
    """Check an order, then price it."""
    if not p.get("items"):
        p["rejected"] = "no items"
        return p
    p = check_stock(p)
    if p["missing"]:
        p["rejected"] = "not in stock: " + ", ".join(p["missing"])
        return p
    p = price(p)
    if p["total"] > p.get("limit", 1000):
        p["rejected"] = f"total {p['total']} is over the limit"
        return p
    p = confirm(p)
    return p


STOCK = {"pen": 120, "notebook": 40, "lamp": 0}
PRICES = {"pen": 1.5, "notebook": 4.2, "lamp": 39.0}


def check_stock(p: dict) -> dict:
    return {**p, "missing": sorted(item for item, count in p["items"].items() if STOCK.get(item, 0) < count)}


def price(p: dict) -> dict:
    return {**p, "total": round(sum(PRICES[item] * count for item, count in p["items"].items()), 2)}


def confirm(p: dict) -> dict:
    return {**p, "confirmation": f"{len(p['items'])} articles, {p['total']:.2f} EUR"}
