"""Use a fine-tuned model: name what happens in new videos."""

from newgameplus.deploy.prediction import Answer, predict

__all__ = ["Answer", "predict"]
