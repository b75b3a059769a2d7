"""Rate how positive an English text is, with VADER: a lexicon of 7,500 rated words and rules for negation, emphasis and emoticons."""

from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer


class EnglishSentiment:
    def __init__(self, threshold: float = 0.05):
        # 0.05 is the bound that VADER's authors recommend between neutral and not.
        self.threshold = threshold
        self.analyzer = SentimentIntensityAnalyzer()

    def process(self, payload: dict) -> dict:
        """Adds ``sentiment`` (positive, neutral, negative; null for another language) and ``sentiment_score`` (-1 to 1, or null)."""
        if payload.get("language", "en") != "en":
            return {**payload, "sentiment": None, "sentiment_score": None}
        score = self.analyzer.polarity_scores(payload["cleaned_text"])["compound"]
        label = "positive" if score >= self.threshold else "negative" if score <= -self.threshold else "neutral"
        return {**payload, "sentiment": label, "sentiment_score": score}
