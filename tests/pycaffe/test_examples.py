"""Caffe's own programs and examples, re-enacted: classify.py, draw_net.py, pyloss.py; and deep dreams."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

NET = """name: "n" input: "data" input_dim: 10 input_dim: 3 input_dim: 6 input_dim: 6
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 4
  kernel_size: 3 weight_filler { type: "gaussian" std: 0.1 } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc" inner_product_param { num_output: 3
  weight_filler { type: "gaussian" std: 0.1 } } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""
CLASSIFY = """
import numpy as np
import os
import sys
import argparse
import glob
import time

import caffe

def main(argv):
    pycaffe_dir = os.path.dirname(__file__)
    parser = argparse.ArgumentParser()
    parser.add_argument("input_file", help="Input image, directory, or npy.")
    parser.add_argument("output_file", help="Output npy filename.")
    parser.add_argument("--model_def", default=os.path.join(pycaffe_dir, "net.prototxt"))
    parser.add_argument("--pretrained_model", default=os.path.join(pycaffe_dir, "net.caffemodel"))
    parser.add_argument("--gpu", action='store_true')
    parser.add_argument("--center_only", action='store_true')
    parser.add_argument("--images_dim", default='8,8')
    parser.add_argument("--mean_file", default='mean.npy')
    parser.add_argument("--input_scale", type=float)
    parser.add_argument("--raw_scale", type=float, default=255.0)
    parser.add_argument("--channel_swap", default='2,1,0')
    parser.add_argument("--ext", default='png')
    args = parser.parse_args()
    image_dims = [int(s) for s in args.images_dim.split(',')]
    mean, channel_swap = None, None
    if args.mean_file:
        mean = np.load(args.mean_file)
    if args.channel_swap:
        channel_swap = [int(s) for s in args.channel_swap.split(',')]
    if args.gpu:
        caffe.set_mode_gpu()
        print("GPU mode")
    else:
        caffe.set_mode_cpu()
        print("CPU mode")
    classifier = caffe.Classifier(args.model_def, args.pretrained_model,
            image_dims=image_dims, mean=mean,
            input_scale=args.input_scale, raw_scale=args.raw_scale,
            channel_swap=channel_swap)
    args.input_file = os.path.expanduser(args.input_file)
    if os.path.isdir(args.input_file):
        inputs =[caffe.io.load_image(im_f) for im_f in sorted(glob.glob(args.input_file + '/*.' + args.ext))]
    else:
        inputs = [caffe.io.load_image(args.input_file)]
    print("Classifying %d inputs." % len(inputs))
    start = time.time()
    predictions = classifier.predict(inputs, not args.center_only)
    print("Done in %.2f s." % (time.time() - start))
    np.save(args.output_file, predictions)

if __name__ == '__main__':
    main(sys.argv)
"""


def test_classify(run, caffe, capsys) -> None:
    Path("net.prototxt").write_text(NET)
    caffe.Net("net.prototxt", caffe.TEST).save("net.caffemodel")
    np.save("mean.npy", np.full((3, 6, 6), 100.0))
    Path("photos").mkdir()
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        Image.fromarray(rng.integers(0, 256, (9, 11, 3), dtype=np.uint8)).save(f"photos/{name}.png")
    run(CLASSIFY, "photos", "all.npy")
    run(CLASSIFY, "photos/b.png", "centre.npy", "--center_only")
    scores = np.load("all.npy")
    assert scores.shape == (2, 3) and np.allclose(scores.sum(1), 1, atol=1e-5)
    assert np.load("centre.npy").shape == (1, 3) and "Classifying 2 inputs." in capsys.readouterr().out
    photos = [caffe.io.load_image(f"photos/{name}.png") for name in ("a", "b")]
    classifier = caffe.Classifier(
        "net.prototxt",
        "net.caffemodel",
        image_dims=[8, 8],
        mean=np.array([100.0] * 3),
        raw_scale=255,
        channel_swap=[2, 1, 0],
    )
    assert np.allclose(scores, classifier.predict(photos), atol=1e-6)


DRAW_NET = """
from argparse import ArgumentParser
from google.protobuf import text_format
import caffe
import caffe.draw
from caffe.proto import caffe_pb2

parser = ArgumentParser()
parser.add_argument('input_net_proto_file')
parser.add_argument('output_image_file')
parser.add_argument('--rankdir', default='LR')
parser.add_argument('--phase', default="ALL")
args = parser.parse_args()
net = caffe_pb2.NetParameter()
text_format.Merge(open(args.input_net_proto_file).read(), net)
print('Drawing net to %s' % args.output_image_file)
phase=None;
if args.phase == "TRAIN":
    phase = caffe.TRAIN
elif args.phase == "TEST":
    phase = caffe.TEST
caffe.draw.draw_net_to_file(net, args.output_image_file, args.rankdir, phase)
"""


@pytest.mark.filterwarnings(
    "ignore:unclosed file:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
def test_draw_net(run) -> None:
    Path("net.prototxt").write_text(NET)
    run(DRAW_NET, "net.prototxt", "net.svg", "--phase", "TEST")
    assert "Convolution 4 k3" in Path("net.svg").read_text()


PYLOSS = """
import caffe
import numpy as np


class EuclideanLossLayer(caffe.Layer):
    def setup(self, bottom, top):
        # check input pair
        if len(bottom) != 2:
            raise Exception("Need two inputs to compute distance.")

    def reshape(self, bottom, top):
        # check input dimensions match
        if bottom[0].count != bottom[1].count:
            raise Exception("Inputs must have the same dimension.")
        # difference is shape of inputs
        self.diff = np.zeros_like(bottom[0].data, dtype=np.float32)
        # loss output is scalar
        top[0].reshape(1)

    def forward(self, bottom, top):
        self.diff[...] = bottom[0].data - bottom[1].data
        top[0].data[...] = np.sum(self.diff**2) / bottom[0].num / 2.

    def backward(self, top, propagate_down, bottom):
        for i in range(2):
            if not propagate_down[i]:
                continue
            if i == 0:
                sign = 1
            else:
                sign = -1
            bottom[i].diff[...] = sign * self.diff / bottom[i].num
"""
LINREG = """name: "LinearRegressionExample"
layer { type: "DummyData" name: "x" top: "x" dummy_data_param {
  shape: { dim: 10 dim: 3 dim: 2 } data_filler: { type: "gaussian" } } }
layer { type: "DummyData" name: "y" top: "y" dummy_data_param {
  shape: { dim: 10 dim: 2 } data_filler: { type: "constant" value: 1 } } }
layer { type: "InnerProduct" name: "ipx" top: "ipx" bottom: "x" inner_product_param { num_output: 2
  weight_filler { type: "xavier" } } }
layer { name: "loss" %s top: "loss" bottom: "ipx" bottom: "y" loss_weight: 1 }
"""


def test_a_loss_in_python_trains_as_ours(caffe, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("pyloss.py").write_text(PYLOSS)
    kinds = (
        'type: "Python" python_param { module: "pyloss" layer: "EuclideanLossLayer" }',
        'type: "EuclideanLoss"',
    )
    found = []
    for kind in kinds:
        Path("linreg.prototxt").write_text(LINREG % kind)
        Path("solver.prototxt").write_text(
            'net: "linreg.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 5 random_seed: 2'
        )
        solver = caffe.SGDSolver("solver.prototxt")
        solver.step(5)
        found.append((solver.net.params["ipx"][0].data.copy(), solver.net.blobs["loss"].data.item()))
    assert np.allclose(found[0][0], found[1][0], atol=1e-6) and found[0][1] == pytest.approx(found[1][1])


DREAM = """
import numpy as np
import caffe
from google.protobuf import text_format
np.random.seed(0)
model = caffe.io.caffe_pb2.NetParameter()
text_format.Merge(open('net.prototxt').read(), model)
model.force_backward = True
open('tmp.prototxt', 'w').write(str(model))
net = caffe.Classifier('tmp.prototxt', 'net.caffemodel',
                       mean = np.float32([104.0, 116.0, 122.0]), channel_swap = (2,1,0))

def preprocess(net, img):
    return np.float32(np.rollaxis(img, 2)[::-1]) - net.transformer.mean['data']

def objective_L2(dst):
    dst.diff[:] = dst.data

def make_step(net, step_size=1.5, end='conv', jitter=1, clip=True, objective=objective_L2):
    src = net.blobs['data'] # input image is stored in Net's 'data' blob
    dst = net.blobs[end]
    ox, oy = np.random.randint(-jitter, jitter+1, 2)
    src.data[0] = np.roll(np.roll(src.data[0], ox, -1), oy, -2) # apply jitter shift
    net.forward(end=end)
    objective(dst)  # specify the optimization objective
    net.backward(start=end)
    g = src.diff[0]
    # apply normalized ascent step to the input image
    src.data[:] += step_size/np.abs(g).mean() * g
    src.data[0] = np.roll(np.roll(src.data[0], -ox, -1), -oy, -2) # unshift image

src = net.blobs['data']
src.reshape(1,3,12,10) # resize the network's input image size
src.data[0] = preprocess(net, np.random.RandomState(0).rand(12, 10, 3) * 255)
strengths = []
for i in range(6):
    make_step(net)
    strengths.append(float((net.blobs['conv'].data ** 2).sum()))
"""


@pytest.mark.filterwarnings(
    "ignore:unclosed file:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
def test_deep_dreams(run, caffe) -> None:
    """Gradients to the image, from the middle of a net that runs with images of another size."""
    Path("net.prototxt").write_text(NET)
    caffe.Net("net.prototxt", caffe.TEST).save("net.caffemodel")
    strengths = run(DREAM)["strengths"]
    assert strengths[-1] > strengths[0] and sorted(strengths) == strengths
