"""The code of Caffe's notebooks, re-enacted on small nets and generated data, against our own numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import rlossctl
from rlossctl.weights import load_weights

TINY = """name: "Tiny" input: "data" input_shape { dim: 2 dim: 3 dim: 8 dim: 8 }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" convolution_param { num_output: 4
  kernel_size: 3 weight_filler { type: "gaussian" std: 0.1 } } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
  pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "fc2" type: "InnerProduct" bottom: "pool1" top: "fc2" inner_product_param { num_output: 5
  weight_filler { type: "gaussian" std: 0.1 } } }
layer { name: "prob" type: "Softmax" bottom: "fc2" top: "prob" }
"""
CLASSIFICATION = """
import numpy as np
import sys
caffe_root = '../'
sys.path.insert(0, caffe_root + 'python')
import caffe

caffe.set_mode_cpu()
net = caffe.Net('tiny.prototxt', 'tiny.caffemodel', caffe.TEST)
mu = np.load('mean.npy')
mu = mu.mean(1).mean(1)
transformer = caffe.io.Transformer({'data': net.blobs['data'].data.shape})
transformer.set_transpose('data', (2,0,1))
transformer.set_mean('data', mu)
transformer.set_raw_scale('data', 255)
transformer.set_channel_swap('data', (2,1,0))
net.blobs['data'].reshape(3, 3, 8, 8)
image = caffe.io.load_image('cat.png')
transformed_image = transformer.preprocess('data', image)
net.blobs['data'].data[...] = transformed_image
output = net.forward()
output_prob = output['prob'][0]
labels = np.array(['a', 'b', 'c', 'd', 'e'])
top_inds = output_prob.argsort()[::-1][:5]
best = zip(output_prob[top_inds], labels[top_inds])
for layer_name, blob in net.blobs.iteritems():
    print(layer_name + '\\t' + str(blob.data.shape))
for layer_name, param in net.params.iteritems():
    print(layer_name + '\\t' + str(param[0].data.shape), str(param[1].data.shape))
filters = net.params['conv1'][0].data.transpose(0, 2, 3, 1)
feat = net.blobs['conv1'].data[0, :36]
shown = transformer.deprocess('data', net.blobs['data'].data[0])
"""


def test_classification(run, caffe, tmp_path: Path, capsys) -> None:
    Path("tiny.prototxt").write_text(TINY)
    caffe.Net("tiny.prototxt", caffe.TEST).save("tiny.caffemodel")
    pixels = np.random.default_rng(0).integers(0, 256, (12, 10, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("cat.png")
    np.save("mean.npy", np.arange(3 * 4 * 4.0).reshape(3, 4, 4))
    names = run(CLASSIFICATION)
    ours = rlossctl.load_net("tiny.prototxt", "tiny.caffemodel")
    data = torch.from_numpy(names["transformed_image"].copy())[None]
    assert np.allclose(names["output_prob"], ours(data=data)["prob"][0].detach(), atol=1e-6)
    assert "conv1\t(3, 4, 6, 6)\n" in capsys.readouterr().out
    assert names["feat"].shape == (4, 6, 6) and np.allclose(
        names["shown"].max(), names["image"].max(), atol=0.2
    )


LENET = """
import caffe
from caffe import layers as L, params as P

def lenet(lmdb, batch_size):
    n = caffe.NetSpec()
    n.data, n.label = L.Data(batch_size=batch_size, backend=P.Data.LMDB, source=lmdb,
                             transform_param=dict(scale=1./255), ntop=2)
    n.conv1 = L.Convolution(n.data, kernel_size=5, num_output=4, weight_filler=dict(type='xavier'))
    n.pool1 = L.Pooling(n.conv1, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.fc1 =   L.InnerProduct(n.pool1, num_output=16, weight_filler=dict(type='xavier'))
    n.relu1 = L.ReLU(n.fc1, in_place=True)
    n.score = L.InnerProduct(n.relu1, num_output=4, weight_filler=dict(type='xavier'))
    n.loss =  L.SoftmaxWithLoss(n.score, n.label)
    return n.to_proto()

with open('lenet_auto_train.prototxt', 'w') as f:
    f.write(str(lenet('train_lmdb', 8)))
with open('lenet_auto_test.prototxt', 'w') as f:
    f.write(str(lenet('train_lmdb', 16)))

from numpy import zeros, arange
solver = None  # ignore this workaround for lmdb data (can't instantiate two solvers on the same data)
solver = caffe.SGDSolver('lenet_auto_solver.prototxt')
shapes = [(k, v.data.shape) for k, v in solver.net.blobs.items()]
solver.net.forward()  # train net
solver.test_nets[0].forward()  # test net (there can be more than one)
first = solver.net.blobs['data'].data[:8, 0].transpose(1, 0, 2).reshape(12, 8*12)
solver.step(1)
gradients = solver.net.params['conv1'][0].diff[:, 0].reshape(2, 2, 5, 5).transpose(0, 2, 1, 3).reshape(10, 10)

niter = 40
test_interval = 10
train_loss = zeros(niter)
test_acc = zeros(niter // test_interval)
output = zeros((niter, 8, 4))
for it in range(niter):
    solver.step(1)  # SGD by Caffe
    train_loss[it] = solver.net.blobs['loss'].data
    solver.test_nets[0].forward(start='conv1')
    output[it] = solver.test_nets[0].blobs['score'].data[:8]
    if it % test_interval == 0:
        correct = 0
        for test_it in range(2):
            solver.test_nets[0].forward()
            correct += sum(solver.test_nets[0].blobs['score'].data.argmax(1)
                           == solver.test_nets[0].blobs['label'].data)
        test_acc[it // test_interval] = correct / 32.
"""
LENET_SOLVER = """train_net: "lenet_auto_train.prototxt" test_net: "lenet_auto_test.prototxt" test_iter: 1
test_interval: 500 base_lr: 0.1 momentum: 0.9 weight_decay: 0.0005 lr_policy: "fixed" display: 0 max_iter: 100
snapshot_prefix: "lenet" random_seed: 1"""


def test_learning_lenet(run, caffe) -> None:
    """Bars in four places, which the net learns; `rlossctl train`'s loss after the same updates."""
    lmdb = pytest.importorskip("lmdb", reason="needs lmdb")
    rng = np.random.default_rng(0)
    with lmdb.open("train_lmdb") as database, database.begin(write=True) as records:
        for number in range(32):
            image = rng.integers(0, 60, (1, 12, 12), dtype=np.uint8)
            image[0, :, 3 * (number % 4) : 3 * (number % 4) + 3] += 150
            datum = caffe.io.array_to_datum(image, number % 4)
            records.put(f"{number:04}".encode(), datum.SerializeToString())
    Path("lenet_auto_solver.prototxt").write_text(LENET_SOLVER)
    names = run(LENET)
    assert dict(names["shapes"])["pool1"] == (8, 4, 4, 4) and names["gradients"].any()
    assert 0 < names["first"].max() < 1
    assert names["test_acc"][-1] == 1 and names["train_loss"][-1] < names["train_loss"][0] / 5
    solver = rlossctl.load_solver("lenet_auto_solver.prototxt")
    solver.net.draw()  # the batch that the script's forward() took
    losses = [solver.step(1)["loss"].item() for _ in range(41)]
    assert np.allclose(names["train_loss"], losses[1:], rtol=1e-3, atol=1e-4)


FINE_TUNING = """
import tempfile, os
import numpy as np
import caffe
from caffe import layers as L
from caffe import params as P
from caffe.proto import caffe_pb2
weight_param = dict(lr_mult=1, decay_mult=1)
bias_param   = dict(lr_mult=2, decay_mult=0)
learned_param = [weight_param, bias_param]
frozen_param = [dict(lr_mult=0)] * 2

def fc_relu(bottom, nout, param):
    fc = L.InnerProduct(bottom, num_output=nout, param=param, weight_filler=dict(type='gaussian', std=0.5))
    return fc, L.ReLU(fc, in_place=True)

def net_file(train=True, learn_all=False, classifier_name='fc8', num_classes=20):
    n = caffe.NetSpec()
    n.data = L.DummyData(shape=dict(dim=[6, 5]), data_filler=dict(type='gaussian', std=1)) if train else \\
        L.Input(shape=dict(dim=[6, 5]))
    n.label = L.DummyData(shape=dict(dim=[6]))
    param = learned_param if learn_all else frozen_param
    n.fc6, n.relu6 = fc_relu(n.data, 7, param=param)
    fc8 = L.InnerProduct(n.relu6, num_output=num_classes, param=learned_param,
                         weight_filler=dict(type='gaussian', std=0.5))
    n.__setattr__(classifier_name, fc8)
    if not train:
        n.probs = L.Softmax(fc8)
    n.loss = L.SoftmaxWithLoss(fc8, n.label)
    n.acc = L.Accuracy(fc8, n.label)
    with tempfile.NamedTemporaryFile('w', delete=False, dir='.') as f:
        f.write(str(n.to_proto()))
        return f.name

def solver_file(train_net_path, base_lr=0.1):
    s = caffe_pb2.SolverParameter()
    s.train_net = train_net_path
    s.test_interval = 1000
    s.test_net.append(train_net_path)
    s.test_iter.append(2)
    s.iter_size = 1
    s.max_iter = 100000
    s.type = 'SGD'
    s.base_lr = base_lr
    s.lr_policy = 'step'
    s.gamma = 0.1
    s.stepsize = 20000
    s.momentum = 0.9
    s.weight_decay = 5e-4
    s.display = 1000
    s.snapshot = 10000
    s.snapshot_prefix = 'finetune_flickr_style'
    s.solver_mode = caffe_pb2.SolverParameter.CPU
    with tempfile.NamedTemporaryFile('w', delete=False, dir='.') as f:
        f.write(str(s))
        return f.name

weights = 'pretrained.caffemodel'
caffe.Net(net_file(classifier_name='fc8_old'), caffe.TEST).save(weights)
niter = 12
style_solver = caffe.get_solver(solver_file(net_file(classifier_name='fc8_flickr')))
style_solver.net.copy_from(weights)
scratch_solver = caffe.get_solver(solver_file(net_file(learn_all=True, classifier_name='fc8_flickr')))
frozen = style_solver.net.params['fc6'][0].data.copy()

def run_solvers(niter, solvers, disp_interval=10):
    blobs = ('loss', 'acc')
    loss, acc = ({name: np.zeros(niter) for name, _ in solvers} for _ in blobs)
    for it in range(niter):
        for name, s in solvers:
            s.step(1)  # run a single SGD step in Caffe
            loss[name][it], acc[name][it] = (s.net.blobs[b].data.copy() for b in blobs)
        if it % disp_interval == 0 or it + 1 == niter:
            loss_disp = '; '.join('%s: loss=%.3f, acc=%2d%%' % (n, loss[n][it], np.round(100*acc[n][it]))
                                  for n, _ in solvers)
            print('%3d) %s' % (it, loss_disp))
    weight_dir = tempfile.mkdtemp(dir='.')
    weights = {}
    for name, s in solvers:
        weights[name] = os.path.join(weight_dir, 'weights.%s.caffemodel' % name)
        s.net.save(weights[name])
    return loss, acc, weights

loss, acc, weights = run_solvers(niter, [('pretrained', style_solver), ('scratch', scratch_solver)])
deploy = caffe.Net(net_file(train=False, classifier_name='fc8_flickr'), weights['pretrained'], caffe.TEST)
deploy.blobs['data'].data[0, ...] = 1
probs = deploy.forward(start='fc6')['probs'][0]
"""


def test_fine_tuning(run, capsys) -> None:
    names = run(FINE_TUNING)
    solver = names["style_solver"]
    assert np.array_equal(names["frozen"], solver.net.params["fc6"][0].data)
    old = load_weights("pretrained.caffemodel")
    assert np.array_equal(
        next(each for each in old.layers if each.name == "fc6").blobs[0].array(), names["frozen"]
    )
    assert names["loss"]["scratch"][-1] < names["loss"]["scratch"][0] and names["acc"]["scratch"][-1] == 1
    assert names["probs"].sum() == pytest.approx(1) and " 11) pretrained: loss=" in capsys.readouterr().out


SURGERY = """
import numpy as np
import caffe
caffe.set_mode_cpu()
net = caffe.Net('conv.prototxt', caffe.TEST)
im = np.random.RandomState(0).rand(9, 11).astype(np.float32)
im_input = im[np.newaxis, np.newaxis, :, :]
net.blobs['data'].reshape(*im_input.shape)
net.blobs['data'].data[...] = im_input
net.forward()
conv0 = net.blobs['conv'].data.copy()
# pick first filter output
net.params['conv'][1].data[0] = 1.
net.forward()
conv1 = net.blobs['conv'].data.copy()
ksize = net.params['conv'][0].data.shape[2:]
# make Gaussian blur
sigma = 1.
y, x = np.mgrid[-ksize[0]//2 + 1:ksize[0]//2 + 1, -ksize[1]//2 + 1:ksize[1]//2 + 1]
g = np.exp(-((x**2 + y**2)/(2.0*sigma**2)))
gaussian = (g / g.sum()).astype(np.float32)
net.params['conv'][0].data[0] = gaussian
# make Sobel operator for edge detection
net.params['conv'][0].data[1:] = 0.
sobel = np.array((-1, -2, -1, 0, 0, 0, 1, 2, 1), dtype=np.float32).reshape((3,3))
net.params['conv'][0].data[1, 0, 1:-1, 1:-1] = sobel  # horizontal
net.params['conv'][0].data[2, 0, 1:-1, 1:-1] = sobel.T  # vertical
net.forward()
edges = net.blobs['conv'].data.copy()

net = caffe.Net('tiny.prototxt', 'tiny.caffemodel', caffe.TEST)
params = ['fc2']
fc_params = {pr: (net.params[pr][0].data, net.params[pr][1].data) for pr in params}
net_full_conv = caffe.Net('full_conv.prototxt', 'tiny.caffemodel', caffe.TEST)
params_full_conv = ['fc2-conv']
conv_params = {pr: (net_full_conv.params[pr][0].data, net_full_conv.params[pr][1].data)
               for pr in params_full_conv}
for pr, pr_conv in zip(params, params_full_conv):
    conv_params[pr_conv][0].flat = fc_params[pr][0].flat  # flat unrolls the arrays
    conv_params[pr_conv][1][...] = fc_params[pr][1]
net_full_conv.save('full_conv.caffemodel')
image = np.random.RandomState(1).randn(1, 3, 14, 12)
out = net_full_conv.forward_all(data=np.asarray([image[0]]))
corner = net.forward(data=np.tile(image[:, :, :8, :8], (2, 1, 1, 1)))['prob']
"""


def test_net_surgery(run, caffe) -> None:
    Path("tiny.prototxt").write_text(TINY)
    caffe.Net("tiny.prototxt", caffe.TEST).save("tiny.caffemodel")
    full = TINY.replace('name: "fc2" type: "InnerProduct"', 'name: "fc2-conv" type: "Convolution"')
    full = full.replace(
        "inner_product_param { num_output: 5", "convolution_param { num_output: 5 kernel_size: 3"
    )
    Path("full_conv.prototxt").write_text(
        full.replace("dim: 2 dim: 3 dim: 8 dim: 8", "dim: 1 dim: 3 dim: 14 dim: 12")
    )
    Path("conv.prototxt").write_text(
        'input: "data" input_shape { dim: 1 dim: 1 dim: 100 dim: 100 } '
        'layer { name: "conv" type: "Convolution" '
        'bottom: "data" top: "conv" convolution_param { num_output: 3 kernel_size: 5 stride: 1 '
        'weight_filler { type: "gaussian" std: 0.01 } } }'
    )
    names = run(SURGERY)
    assert np.allclose(names["conv1"] - names["conv0"], [[[[1]], [[0]], [[0]]]], atol=1e-6)
    image = torch.from_numpy(names["im_input"])
    sobel = torch.from_numpy(names["sobel"])[None, None]
    assert np.allclose(names["edges"][:, 1:2], torch.conv2d(image, sobel)[:, :, 1:-1, 1:-1], atol=1e-5)
    prob = names["out"]["prob"]
    assert prob.shape == (1, 5, 4, 3) and np.allclose(prob[0, :, 0, 0], names["corner"][0], atol=1e-6)
    ours = rlossctl.load_net("full_conv.prototxt", "full_conv.caffemodel")
    data = torch.tensor(names["image"], dtype=torch.float32)
    assert np.allclose(prob, ours(data=data)["prob"].detach(), atol=1e-6)


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
