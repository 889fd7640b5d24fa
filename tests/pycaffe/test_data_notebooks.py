"""Caffe's notebooks with other data: HDF5 files, a Python layer, pairs; as in test_notebooks.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

LOGREG = """
import numpy as np
import os
import h5py
import caffe
import caffe.draw
from caffe import layers as L
from caffe import params as P
rng = np.random.RandomState(0)
X = rng.randn(200, 4).astype(np.float32)
y = (X[:, 0] - 2 * X[:, 1] > 0).astype(np.float32)
train_filename = os.path.join('.', 'train.h5')
with h5py.File(train_filename, 'w') as f:
    f['data'] = X
    f['label'] = y
with open('train.txt', 'w') as f:
    f.write(train_filename + '\\n')

def logreg(hdf5, batch_size):
    n = caffe.NetSpec()
    n.data, n.label = L.HDF5Data(batch_size=batch_size, source=hdf5, ntop=2)
    n.ip1 = L.InnerProduct(n.data, num_output=2, weight_filler=dict(type='xavier'))
    n.accuracy = L.Accuracy(n.ip1, n.label)
    n.loss = L.SoftmaxWithLoss(n.ip1, n.label)
    return n.to_proto()

with open('logreg_auto.prototxt', 'w') as f:
    f.write(str(logreg('train.txt', 20)))
from caffe.proto import caffe_pb2
s = caffe_pb2.SolverParameter()
s.train_net = 'logreg_auto.prototxt'
s.test_net.append('logreg_auto.prototxt')
s.test_interval = 500
s.test_iter.append(10)
s.max_iter = 60
s.base_lr = 0.5
s.lr_policy = 'step'
s.gamma = 0.1
s.stepsize = 5000
s.momentum = 0.9
s.snapshot_prefix = 'train'
s.snapshot = 10000
with open('solver.prototxt', 'w') as f:
    f.write(str(s))
caffe.set_mode_cpu()
solver = caffe.get_solver('solver.prototxt')
solver.solve()
accuracy = 0
test_iters = 10
for i in range(test_iters):
    solver.test_nets[0].forward()
    accuracy += solver.test_nets[0].blobs['accuracy'].data
accuracy /= test_iters
"""


def test_brewing_logistic_regression(run) -> None:
    pytest.importorskip("h5py", reason="needs the extra pycaffe")
    names = run(LOGREG)
    assert names["solver"].iter == 60 and names["accuracy"] > 0.9
    weights = names["solver"].net.params["ip1"][0].data
    direction = weights[1] - weights[0]
    assert direction[1] / direction[0] == pytest.approx(-2, rel=0.25)


MULTILABEL = """
import os.path as osp
import numpy as np
import caffe
from caffe import layers as L, params as P
import tools

caffe.set_mode_cpu()

def caffenet_multilabel(data_layer_params, datalayer):
    n = caffe.NetSpec()
    n.data, n.label = L.Python(module='pascal_multilabel_datalayers', layer=datalayer, ntop=2,
                               param_str=str(data_layer_params))
    n.score = L.InnerProduct(n.data, num_output=3, weight_filler=dict(type='gaussian', std=0.1))
    n.loss = L.SigmoidCrossEntropyLoss(n.score, n.label)
    return str(n.to_proto())

solverprototxt = tools.CaffeSolver(trainnet_prototxt_path='trainnet.prototxt',
                                   testnet_prototxt_path='valnet.prototxt')
solverprototxt.sp['display'] = "1000"
solverprototxt.sp['base_lr'] = "0.02"
solverprototxt.write('solver.prototxt')
for split in ('train', 'val'):
    with open(split + 'net.prototxt', 'w') as f:
        data_layer_params = dict(batch_size=16, im_shape=[4, 4], split=split, pascal_root='.')
        f.write(caffenet_multilabel(data_layer_params, 'PascalMultilabelDataLayerSync'))
solver = caffe.SGDSolver('solver.prototxt')
solver.test_nets[0].share_with(solver.net)
solver.step(1)

def hamming_distance(gt, est):
    return sum([1 for (g, e) in zip(gt, est) if g == e]) / float(len(gt))

def check_accuracy(net, num_batches, batch_size=16):
    acc = 0.0
    for t in range(num_batches):
        net.forward()
        gts = net.blobs['label'].data
        ests = net.blobs['score'].data > 0
        for gt, est in zip(gts, ests): #for each ground truth and estimated label vector
            acc += hamming_distance(gt, est)
    return acc / (num_batches * batch_size)

before = check_accuracy(solver.test_nets[0], 3)
solver.step(60)
after = check_accuracy(solver.test_nets[0], 3)
"""
DATA_LAYER = """
import numpy as np
import caffe

class PascalMultilabelDataLayerSync(caffe.Layer):
    def setup(self, bottom, top):
        self.top_names = ['data', 'label']
        params = eval(self.param_str)
        self.batch_size = params['batch_size']
        self.random = np.random.RandomState(0 if params['split'] == 'train' else 1)
        top[0].reshape(self.batch_size, 3, params['im_shape'][0], params['im_shape'][1])
        top[1].reshape(self.batch_size, 3)

    def forward(self, bottom, top):
        for itt in range(self.batch_size):
            multilabel = self.random.randint(0, 2, 3)
            im = self.random.randn(3, 4, 4) + 2 * multilabel[:, None, None] - 1
            top[0].data[itt, ...] = im
            top[1].data[itt, ...] = multilabel

    def reshape(self, bottom, top):
        pass

    def backward(self, top, propagate_down, bottom):
        pass
"""
TOOLS = """
class CaffeSolver:
    def __init__(self, testnet_prototxt_path, trainnet_prototxt_path):
        self.sp = {'base_lr': '0.001', 'momentum': '0.9', 'test_iter': '2', 'test_interval': '1000',
                   'lr_policy': '"fixed"', 'max_iter': '500', 'snapshot_prefix': '"snap"',
                   'train_net': '"' + trainnet_prototxt_path + '"',
                   'test_net': '"' + testnet_prototxt_path + '"'}

    def write(self, filepath):
        with open(filepath, 'w') as f:
            for key, value in sorted(self.sp.items()):
                f.write('%s: %s\\n' % (key, value))
"""


def test_multilabel_with_a_data_layer(run) -> None:
    names = run(MULTILABEL, pascal_multilabel_datalayers=DATA_LAYER, tools=TOOLS)
    assert names["before"] < 0.9 < names["after"]


SIAMESE = """
import numpy as np
import caffe
caffe.set_mode_cpu()
MODEL_FILE = 'siamese.prototxt'
PRETRAINED_FILE = 'siamese.caffemodel'
solver = caffe.SGDSolver('siamese_solver.prototxt')
rng = np.random.RandomState(0)
losses = []
for it in range(60):
    labels = rng.randint(0, 2, (2, 10))
    pair = [l[:, None] * np.array([[2., 0, -1]]) + 0.2 * rng.randn(10, 3) for l in labels]
    solver.net.blobs['data'].data[...] = pair[0]
    solver.net.blobs['data_p'].data[...] = pair[1]
    solver.net.blobs['sim'].data[...] = labels[0] == labels[1]
    solver.step(1)
    losses.append(float(solver.net.blobs['loss'].data))
solver.net.save(PRETRAINED_FILE)
net = caffe.Net(MODEL_FILE, PRETRAINED_FILE, caffe.TEST)
labels = np.arange(25) % 2
caffe_in = labels[:, None] * np.array([[2., 0, -1]]) + 0.2 * rng.randn(25, 3)
out = net.forward_all(data=caffe_in.astype(np.float32))
feat = out['feat']
shared = solver.net.params['ip'][0].data is not None and \\
    np.array_equal(solver.net.params['ip'][0].data, solver.net.params['ip_p'][0].data)
"""


def test_siamese(run) -> None:
    """Two branches with one set of weights, whose gradients add up."""
    branch = """layer {{ name: "ip{0}" type: "InnerProduct" bottom: "data{0}" top: "feat{0}"
      param {{ name: "w" }} param {{ name: "b" }} inner_product_param {{ num_output: 2
      weight_filler {{ type: "gaussian" std: 0.1 }} }} }}"""
    inputs = 'layer {{ name: "{0}" type: "Input" top: "{0}" input_param {{ shape {{ dim: 10 {1} }} }} }}'
    Path("pair.prototxt").write_text(
        "".join(inputs.format(*each) for each in (("data", "dim: 3"), ("data_p", "dim: 3"), ("sim", "")))
        + branch.format("")
        + branch.format("_p")
        + 'layer { name: "loss" type: "ContrastiveLoss" bottom: "feat" bottom: "feat_p" '
        'bottom: "sim" top: "loss" }'
    )
    Path("siamese.prototxt").write_text(inputs.format("data", "dim: 3") + branch.format(""))
    Path("siamese_solver.prototxt").write_text(
        'net: "pair.prototxt" base_lr: 0.1 momentum: 0.5 lr_policy: "fixed" max_iter: 60 snapshot_prefix: "s"'
    )
    names = run(SIAMESE)
    assert names["shared"] and names["feat"].shape == (25, 2)
    assert np.mean(names["losses"][-5:]) < np.mean(names["losses"][:5]) / 2
    zeros, ones = (names["feat"][names["labels"] == label] for label in (0, 1))
    assert np.linalg.norm(zeros.mean(0) - ones.mean(0)) > 3 * max(zeros.std(0).max(), ones.std(0).max())
