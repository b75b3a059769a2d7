"""Envelope mode: the judge sees the whole envelope and sends weak answers to one more actor, llm-refiner, before they go on."""

from scorer import CoverageScorer


class LLMJudge:
    def __init__(self, threshold: float = 0.8):
        self.model = CoverageScorer()  # stands where the quick start loads a judge model
        self.threshold = float(threshold)

    def process(self, envelope: dict) -> dict:
        payload = envelope["payload"]
        score = self.model.judge(payload["prompt"], payload["llm_response"])
        payload["judge_score"] = score

        route = envelope["route"]
        if score < self.threshold:
            # Future steps may be added, replaced or removed; those up to `current` stay as they are.
            route["actors"].insert(route["current"] + 1, "llm-refiner")
        route["current"] += 1
        return envelope
