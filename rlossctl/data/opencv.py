"""OpenCV, kept to the thread that calls it: what reads photos has threads of its own."""

from __future__ import annotations

import cv2

cv2.setNumThreads(1)

__all__ = ["cv2"]
