"""Scores and pictures: runners, one confusion matrix, tables and reports. ONNX models need no torch here."""

from rlossctl.evaluation.confusion import CaffeScores, ClassScore, Confusion
from rlossctl.evaluation.evaluate import Evaluation, Picture, evaluate, predict
from rlossctl.evaluation.report import write_report
from rlossctl.evaluation.runners import OnnxRunner, Runner

__all__ = [
    "CaffeScores",
    "ClassScore",
    "Confusion",
    "Evaluation",
    "OnnxRunner",
    "Picture",
    "Runner",
    "evaluate",
    "predict",
    "write_report",
]
