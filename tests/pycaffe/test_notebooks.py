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
