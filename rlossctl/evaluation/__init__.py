"""Scores and pictures: runners, predictions, matrices, tables and reports. ONNX models need no torch here."""

from rlossctl.evaluation.confusion import CaffeScores, ClassScore, Confusion
from rlossctl.evaluation.evaluate import Evaluation, Picture, evaluate
from rlossctl.evaluation.predictor import Predictor
from rlossctl.evaluation.protocol import Crf, Protocol
from rlossctl.evaluation.report import write_report
from rlossctl.evaluation.rules import Decision, Rule, decide
from rlossctl.evaluation.runners import LabelRunner, OnnxRunner, Runner, open_onnx

__all__ = [
    "CaffeScores",
    "ClassScore",
    "Confusion",
    "Crf",
    "Decision",
    "Evaluation",
    "LabelRunner",
    "OnnxRunner",
    "Picture",
    "Predictor",
    "Protocol",
    "Rule",
    "Runner",
    "decide",
    "evaluate",
    "open_onnx",
    "write_report",
]
