"""Nested approval: who must sign depends on amount, department and what the signatories say."""


def approval_flow(p: dict) -> dict:
    """Bring an expense through the signatures that it needs."""
    p = classify_expense(p)
    p["signed"] = []
    if p["amount"] <= 100:
        p["status"] = "approved"
    else:
        p = ask_manager(p)
        if p["manager_agrees"]:
            if p["amount"] > 5000 or p["category"] == "travel abroad":
                p = ask_finance(p)
                if p["finance_agrees"]:
                    p["status"] = "approved"
                else:
                    p["status"] = "refused by finance"
            else:
                p["status"] = "approved"
        else:
            p["status"] = "refused by manager"
    p = notify(p)
    return p


BUDGETS = {"research": 8000, "sales": 3000}


def classify_expense(p: dict) -> dict:
    return {**p, "category": "travel abroad" if p.get("country", "DE") != "DE" else "domestic"}


def ask_manager(p: dict) -> dict:
    agrees = bool(p.get("reason"))
    return {**p, "manager_agrees": agrees, "signed": [*p["signed"], "manager"] if agrees else p["signed"]}


def ask_finance(p: dict) -> dict:
    agrees = p["amount"] <= BUDGETS.get(p["department"], 0)
    return {**p, "finance_agrees": agrees, "signed": [*p["signed"], "finance"] if agrees else p["signed"]}


def notify(p: dict) -> dict:
    return {**p, "message": f"{p['amount']} EUR for {p['department']}: {p['status']}"}
