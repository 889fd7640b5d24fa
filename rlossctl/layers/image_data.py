"""Layers that read lists of image files; data.py has ImageSegData."""

from __future__ import annotations

from rlossctl.net.layer import SourceLayer
from rlossctl.net.registry import computes
from rlossctl.outlines.image_data import (
    DenseImageDataOutline,
    ImageDataOutline,
    ImageLabelmapDataOutline,
    WindowDataOutline,
)


@computes("ImageData")
class ImageData(ImageDataOutline, SourceLayer):
    """Images from a list file, with one class each (image_data_layer.cpp): data (N, C, h, w), label (N,).

    The dialect bvlc splits a line at its last space, so that names may contain spaces; the others split it
    into two tokens. Crop, mirror, mean (mean_file, mean_value) and scale of transform_param apply; the old
    fields with the same names in image_data_param do not, as in Caffe. A batch has its first image's size.
    """


@computes("DenseImageData")
class DenseImageData(DenseImageDataOutline, SourceLayer):
    """Images with label images from a list file (dense_image_data_layer.cpp of SegNet's and ENet's forks).

    data: (N, C, h, w), BGR; label: (N, 1, h, w). The layer's mirror and crop are random in TEST, too. See
    `DenseImageSource`. Not reproduced: the forks read a palette label image as grey
    levels (here: its indices), and apply transform_param's mirror and crop only to the image (here: also to
    the label).
    """


@computes("ImageLabelmapData")
class ImageLabelmapData(ImageLabelmapDataOutline, SourceLayer):
    """Photos with maps of edges or objects from a list file: data (N, C, h, w), label (N, 1, h, w)
    (image_labelmap_data_layer.cpp of HED's fork).

    A map is read as grey levels; the label is 1 from 128 on, else 0. In RCF's nets (which have AutoCrop), and
    with weak_edges, a field of ours, levels below 128 stay fractions of 255. With DSS's `normalize: false`
    levels stay levels. Crop and mirror are the same for photo and map, and random in TEST, too.
    """


@computes("WindowData")
class WindowData(WindowDataOutline, SourceLayer):
    """R-CNN's windows of images, warped to crop_size (window_data_layer.cpp): data (N, C, s, s), label (N,).

    A batch begins with background windows (label 0); the last fg_fraction of it is foreground.
    """
