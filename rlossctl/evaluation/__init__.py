"""Scores and pictures: runners, predictions, matrices, tables and reports. ONNX models need no torch here."""

from rlossctl.counts import CaffeScores
from rlossctl.evaluation.evaluate import Evaluation, Picture, evaluate
from rlossctl.evaluation.predicting.predictor import Predictor
from rlossctl.evaluation.predicting.protocol import Crf, Protocol
from rlossctl.evaluation.predicting.rules import Decision, Rule, decide
from rlossctl.evaluation.reporting.report import write_report
from rlossctl.evaluation.running.runners import LabelRunner, OnnxRunner, Runner, open_onnx
from rlossctl.evaluation.scoring.confusion import ClassScore, Confusion

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
