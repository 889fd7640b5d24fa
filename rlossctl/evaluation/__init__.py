"""Scores and pictures: runners, predictions, matrices, tables and reports. ONNX models run without torch."""

from rlossctl.counts import CaffeScores
from rlossctl.evaluation.evaluate import evaluate
from rlossctl.evaluation.predicting.predictor import Predictor
from rlossctl.evaluation.predicting.protocol import Crf, Protocol
from rlossctl.evaluation.predicting.rules import Decision, Rule, decide
from rlossctl.evaluation.reporting.report import write_report
from rlossctl.evaluation.running.onnx_runners import OnnxRunner
from rlossctl.evaluation.running.open_model import open_onnx
from rlossctl.evaluation.running.runners import LabelRunner, Runner
from rlossctl.evaluation.scoring.confusion import ClassScore, Confusion
from rlossctl.evaluation.scoring.evaluation import Evaluation, Picture

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
