"""FCN's, DeepLab's and rloss's scripts, re-enacted on small nets and generated data; most are Python 2."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import rlossctl
from rlossctl.losses.densecrf import caffe_mask, densecrf_loss

NET = """
import caffe
from caffe import layers as L, params as P
from caffe.coord_map import crop

def conv_relu(bottom, nout, ks=3, stride=1, pad=1):
    conv = L.Convolution(bottom, kernel_size=ks, stride=stride,
        num_output=nout, pad=pad, weight_filler=dict(type='gaussian', std=0.1),
        param=[dict(lr_mult=1, decay_mult=1), dict(lr_mult=2, decay_mult=0)])
    return conv, L.ReLU(conv, in_place=True)

def max_pool(bottom, ks=2, stride=2):
    return L.Pooling(bottom, pool=P.Pooling.MAX, kernel_size=ks, stride=stride)

def fcn(split):
    n = caffe.NetSpec()
    if split == 'deploy':
        n.data = L.Input(shape=dict(dim=[1, 3, 16, 16]))
    else:
        pydata_params = dict(split=split, mean=(104.00699, 116.66877, 122.67892), seed=1337)
        n.data, n.label = L.Python(module='voc_layers', layer='VOCSegDataLayer', ntop=2,
                                   param_str=str(pydata_params))
    n.conv1, n.relu1 = conv_relu(n.data, 6, pad=10)
    n.pool1 = max_pool(n.relu1)
    n.conv2, n.relu2 = conv_relu(n.pool1, 8)
    n.pool2 = max_pool(n.relu2)
    n.fc3, n.relu3 = conv_relu(n.pool2, 8, ks=3, pad=0)
    n.drop3 = L.Dropout(n.relu3, dropout_ratio=0.5, in_place=True)
    n.score_fr = L.Convolution(n.drop3, num_output=3, kernel_size=1, pad=0,
        param=[dict(lr_mult=1, decay_mult=1), dict(lr_mult=2, decay_mult=0)])
    n.upscore2 = L.Deconvolution(n.score_fr,
        convolution_param=dict(num_output=3, kernel_size=4, stride=2, bias_term=False),
        param=[dict(lr_mult=0)])
    n.score_pool1 = L.Convolution(n.pool1, num_output=3, kernel_size=1, pad=0,
        param=[dict(lr_mult=1, decay_mult=1), dict(lr_mult=2, decay_mult=0)])
    n.score_pool1c = crop(n.score_pool1, n.upscore2)
    n.fuse_pool1 = L.Eltwise(n.upscore2, n.score_pool1c, operation=P.Eltwise.SUM)
    n.upscore = L.Deconvolution(n.fuse_pool1,
        convolution_param=dict(num_output=3, kernel_size=4, stride=2, bias_term=False),
        param=[dict(lr_mult=0)])
    n.score = crop(n.upscore, n.data)
    if split != 'deploy':
        n.loss = L.SoftmaxWithLoss(n.score, n.label, loss_param=dict(normalize=False, ignore_label=255))
    return n.to_proto()

for split in ('train', 'val', 'deploy'):
    with open(split + '.prototxt', 'w') as f:
        f.write(str(fcn(split)))
"""
VOC_LAYERS = """
import caffe
import numpy as np
import random

class VOCSegDataLayer(caffe.Layer):
    def setup(self, bottom, top):
        params = eval(self.param_str)
        self.mean = np.array(params['mean'])
        self.random = params.get('randomize', True) and params['split'] == 'train'
        if len(top) != 2:
            raise Exception("Need to define two tops: data and label.")
        if len(bottom) != 0:
            raise Exception("Do not define a bottom.")
        self.indices = list(range(4))
        self.idx = 0
        if self.random:
            random.seed(params['seed'])
            self.idx = random.randint(0, len(self.indices)-1)

    def reshape(self, bottom, top):
        # load image + label image pair
        self.data, self.label = self.load(self.idx)
        # reshape tops to fit (leading 1 is for batch dimension)
        top[0].reshape(1, *self.data.shape)
        top[1].reshape(1, *self.label.shape)

    def forward(self, bottom, top):
        top[0].data[...] = self.data
        top[1].data[...] = self.label
        # pick next input
        if self.random:
            self.idx = random.randint(0, len(self.indices)-1)
        else:
            self.idx += 1
            if self.idx == len(self.indices):
                self.idx = 0

    def backward(self, top, propagate_down, bottom):
        pass

    def load(self, idx):
        h, w = 16 + 2 * idx, 20 - 2 * idx
        label = (np.arange(h)[:, None] * 3 // h + 0 * np.arange(w)) % 3
        in_ = np.eye(3, dtype=np.float32)[label] * 200
        in_ = in_[:,:,::-1]
        in_ -= self.mean
        label = label[np.newaxis, ...].astype(np.uint8)
        label[0, 0, :2] = 255
        return in_.transpose((2,0,1)) / 50, label
"""
SURGERY = """
from __future__ import division
import caffe
import numpy as np

def transplant(new_net, net, suffix=''):
    for p in net.params:
        p_new = p + suffix
        if p_new not in new_net.params:
            print 'dropping', p
            continue
        for i in range(len(net.params[p])):
            if i > (len(new_net.params[p_new]) - 1):
                print 'dropping', p, i
                break
            if net.params[p][i].data.shape != new_net.params[p_new][i].data.shape:
                print 'coercing', p, i, 'from', net.params[p][i].data.shape, 'to', \\
                    new_net.params[p_new][i].data.shape
            else:
                print 'copying', p, ' -> ', p_new, i
            new_net.params[p_new][i].data.flat = net.params[p][i].data.flat

def upsample_filt(size):
    factor = (size + 1) // 2
    if size % 2 == 1:
        center = factor - 1
    else:
        center = factor - 0.5
    og = np.ogrid[:size, :size]
    return (1 - abs(og[0] - center) / factor) * \\
           (1 - abs(og[1] - center) / factor)

def interp(net, layers):
    for l in layers:
        m, k, h, w = net.params[l][0].data.shape
        if m != k and k != 1:
            print 'input + output channels need to be the same or |output| == 1'
            raise
        filt = upsample_filt(h)
        net.params[l][0].data[range(m), range(k), :, :] = filt
"""
SCORE = """
from __future__ import division
import caffe
import numpy as np
import sys
from datetime import datetime

def fast_hist(a, b, n):
    k = (a >= 0) & (a < n)
    return np.bincount(n * a[k].astype(int) + b[k], minlength=n**2).reshape(n, n)

def compute_hist(net, save_dir, dataset, layer='score', gt='label'):
    n_cl = net.blobs[layer].channels
    hist = np.zeros((n_cl, n_cl))
    loss = 0
    for idx in dataset:
        net.forward()
        hist += fast_hist(net.blobs[gt].data[0, 0].flatten(),
                                net.blobs[layer].data[0].argmax(0).flatten(),
                                n_cl)
        # compute the loss as well
        loss += net.blobs['loss'].data.flat[0]
    return hist, loss / len(dataset)

def seg_tests(solver, save_format, dataset, layer='score', gt='label'):
    print '>>>', datetime.now(), 'Begin seg tests'
    solver.test_nets[0].share_with(solver.net)
    return do_seg_tests(solver.test_nets[0], solver.iter, save_format, dataset, layer, gt)

def do_seg_tests(net, iter, save_format, dataset, layer='score', gt='label'):
    hist, loss = compute_hist(net, save_format, dataset, layer, gt)
    # mean loss
    print '>>>', datetime.now(), 'Iteration', iter, 'loss', loss
    acc = np.diag(hist).sum() / hist.sum()
    print '>>>', datetime.now(), 'Iteration', iter, 'overall accuracy', acc
    iu = np.diag(hist) / (hist.sum(1) + hist.sum(0) - np.diag(hist))
    print '>>>', datetime.now(), 'Iteration', iter, 'mean IU', np.nanmean(iu)
    return hist, loss, np.nanmean(iu)
"""
SOLVE = """
import caffe
import surgery, score

import numpy as np
import os
import sys

try:
    import setproctitle
    setproctitle.setproctitle(os.path.basename(os.getcwd()))
except:
    pass

weights = 'base.caffemodel'

# init
caffe.set_mode_cpu()
solver = caffe.SGDSolver('solver.prototxt')
solver.net.copy_from(weights)

# surgeries
interp_layers = [k for k in solver.net.params.keys() if 'up' in k]
surgery.interp(solver.net, interp_layers)
upsampling = solver.net.params['upscore2'][0].data.copy()

# scoring
val = np.loadtxt('seg11valid.txt', dtype=str)

results = []
for _ in range(3):
    solver.step(60)
    results.append(score.seg_tests(solver, False, val, layer='score'))
solver.net.save('fcn.caffemodel')

full = caffe.Net('classifier.prototxt', caffe.TEST)
surgery.transplant(solver.net, full)
"""
INFER = """
import numpy as np
from PIL import Image

import caffe

# load image, switch to BGR, subtract mean, and make dims C x H x W for Caffe
im = Image.open('image.png')
in_ = np.array(im, dtype=np.float32)
in_ = in_[:,:,::-1]
in_ -= np.array((104.00698793,116.66876762,122.67891434))
in_ = in_.transpose((2,0,1)) / 50

# load net
net = caffe.Net('deploy.prototxt', 'fcn.caffemodel', caffe.TEST)
# shape for input (data blob is N x C x H x W), set data
net.blobs['data'].reshape(1, *in_.shape)
net.blobs['data'].data[...] = in_
# run net and take argmax for prediction
net.forward()
out = net.blobs['score'].data[0].argmax(axis=0)
"""


@pytest.mark.slow
def test_fcn_from_its_nets_to_its_prediction(run, caffe, capsys) -> None:
    """net.py, solve.py with surgery.py and score.py, infer.py; the prediction is ours, too."""
    pytest.importorskip("fissix", reason="needs the extra pycaffe")
    caffe.set_random_seed(3)
    run(NET, voc_layers=VOC_LAYERS)
    Path("solver.prototxt").write_text(
        'train_net: "train.prototxt" test_net: "val.prototxt" test_iter: 4 test_interval: 999999 display: 20 '
        'average_loss: 20 lr_policy: "fixed" base_lr: 1e-4 momentum: 0.9 iter_size: 1 max_iter: 100000 '
        'weight_decay: 0.0005 test_initialization: false snapshot_prefix: "train" random_seed: 3'
    )
    Path("seg11valid.txt").write_text("a\nb\nc\nd\n")
    Path("classifier.prototxt").write_text(
        'input: "data" input_shape { dim: 1 dim: 8 } layer { name: "score_fr" type: "InnerProduct" '
        'bottom: "data" '
        'top: "s" inner_product_param { num_output: 3 weight_filler { type: "xavier" } } } '
        'layer { name: "gone" type: "InnerProduct" bottom: "s" top: "t" '
        "inner_product_param { num_output: 1 } }"
    )
    caffe.Net("deploy.prototxt", caffe.TEST).save("base.caffemodel")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names = run(SOLVE, surgery=SURGERY, score=SCORE)
    assert np.allclose(names["upsampling"][0, 0, 0], [0.0625, 0.1875, 0.1875, 0.0625])
    assert np.array_equal(names["upsampling"], names["solver"].net.params["upscore2"][0].data), "lr_mult is 0"
    losses, scores = [each[1] for each in names["results"]], [each[2] for each in names["results"]]
    assert losses[-1] < losses[0] and scores[-1] > 0.8
    out = capsys.readouterr().out
    assert "coercing score_fr 0 from (3, 8) to (3, 8, 1, 1)" in out and "dropping gone" in out
    assert "Iteration 180 mean IU" in out

    pixels = np.eye(3, dtype=np.uint8)[(np.arange(18)[:, None] * 3 // 18 + 0 * np.arange(22)) % 3] * 200
    Image.fromarray(pixels).save("image.png")
    names = run(INFER)
    ours = rlossctl.load_net("deploy.prototxt", "fcn.caffemodel")
    expected = ours(data=torch.from_numpy(np.array(names["in_"][None])))["score"][0].argmax(0)
    assert np.array_equal(names["out"], expected) and names["out"].shape == (18, 22)
    assert (names["out"] == np.arange(18)[:, None] * 3 // 18).mean() > 0.8


GRADIENT = """
from sys import exit
import sys
sys.path.insert(0,'/home/me/rloss/deeplab/python')
import numpy as np
import matplotlib.pyplot as plt
from PIL import Image
import caffe
caffe.set_device(0)
caffe.set_mode_cpu()

solver = caffe.SGDSolver('solverwithdensecrfloss_train.prototxt')
solver.net.copy_from('train_iter_9000.caffemodel')
training_net = solver.net

solver.step(1)

print 'densecrf loss', training_net.blobs['densecrf_loss'].data
print training_net.blobs['fc8_interp_softmax'].data.shape

prob = training_net.blobs['fc8_interp_softmax'].data
scores = training_net.blobs['fc8_interp']

print type(prob)
print prob[0,0,:,:].dtype

# RGB image
imgblob = training_net.blobs['data'].data
imgblob = imgblob[0,:,:,:]
(C, H, W) = imgblob.shape
img = np.zeros((H, W, C), dtype=np.uint8);

img[:,:,2] = imgblob[0,:,:] + 104.008
img[:,:,1] = imgblob[1,:,:] + 116.669
img[:,:,0] = imgblob[2,:,:] + 122.675

scores_diff = scores.diff

print np.amax(scores_diff[0,1,:,:])
print np.amin(scores_diff[0,1,:,:])

prob_diff = training_net.blobs['fc8_interp_softmax'].diff
shrink_scores_diff = training_net.blobs['fc8_pascal_scribble'].diff

for i in range(3):
    fig=plt.figure()
    plt.imshow(prob[0,i,:,:], vmin=0, vmax=1);
    plt.savefig('visualization/' + str(i) + 'prob' + '.png')
    plt.close(fig)
"""
PYPLOT = """
shown = []
def figure(): pass
def imshow(array, **settings): shown.append(array)
def savefig(name): pass
def close(figure): pass
"""
TRAIN = """layer { name: "data" type: "DummyData" top: "data" top: "label" dummy_data_param {
  shape { dim: 1 dim: 3 dim: 17 dim: 17 } shape { dim: 1 dim: 1 dim: 17 dim: 17 }
  data_filler { type: "uniform" min: -90 max: 90 } data_filler { type: "constant" value: 1 } } }
layer { name: "fc8" type: "Convolution" bottom: "data" top: "fc8_pascal_scribble"
  convolution_param { num_output: 3 kernel_size: 1 stride: 4 weight_filler { type: "gaussian" std: 0.02 } } }
layer { name: "fc8_interp" type: "Interp" bottom: "fc8_pascal_scribble" top: "fc8_interp"
  interp_param { height: 17 width: 17 } }
layer { name: "fc8_interp_softmax" type: "Softmax" bottom: "fc8_interp" top: "fc8_interp_softmax" }
layer { name: "densecrf_loss" type: "DenseCRFLoss" bottom: "data" bottom: "fc8_interp_softmax"
  top: "densecrf_loss"
  propagate_down: false propagate_down: true loss_weight: 0.01
  densecrf_loss_param { bi_xy_std: 10 bi_rgb_std: 15 } }
"""


def test_the_gradient_of_the_densecrf_loss(run, caffe, capsys) -> None:
    """rloss's visualize_densecrf_gradient.py, line by line, against the loss as a function."""
    pytest.importorskip("fissix", reason="needs the extra pycaffe")
    Path("train.prototxt").write_text(TRAIN)
    Path("solverwithdensecrfloss_train.prototxt").write_text(
        'train_net: "train.prototxt" base_lr: 1e-9 lr_policy: "fixed" max_iter: 1 random_seed: 1'
    )
    caffe.Net("train.prototxt", caffe.TRAIN).save("train_iter_9000.caffemodel")
    package = Path("matplotlib")
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "pyplot.py").write_text(PYPLOT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names = run(GRADIENT)
    net, prob = names["training_net"], torch.tensor(names["prob"], requires_grad=True)
    image = torch.from_numpy(net.blobs["data"].data.copy())
    loss = 0.01 * densecrf_loss(image, prob, caffe_mask(image), sigma_xy=10, sigma_rgb=15)
    loss.backward()
    assert net.blobs["densecrf_loss"].data.item() * 0.01 == pytest.approx(loss.item(), rel=1e-5)
    assert np.allclose(names["prob_diff"], prob.grad, rtol=1e-4, atol=1e-8)
    share = prob.detach()
    expected = share * (prob.grad - (prob.grad * share).sum(1, keepdim=True))
    assert np.allclose(names["scores_diff"], expected, rtol=1e-3, atol=1e-8) and names["scores_diff"].any()
    assert names["shrink_scores_diff"].shape == (1, 3, 5, 5) and names["shrink_scores_diff"].any()
    assert names["plt"].shown[2].shape == (17, 17) and "densecrf loss" in capsys.readouterr().out


DEEPLAB = """
import numpy as np
import caffe
net = caffe.Net('test.prototxt', caffe.TEST, weights='deeplab.caffemodel')
im = np.zeros((30, 28, 3), dtype=np.float32)
im[5:20, 4:24] = 200
mean = np.array([104.008, 116.669, 122.675], dtype=np.float32)
padded = np.zeros((1, 3, 33, 33), dtype=np.float32)
padded[0, :, :30, :28] = (im - mean).transpose(2, 0, 1)
net.blobs['data'].data[...] = padded
net.blobs['data_dim'].data[...] = np.array([30, 28]).reshape(1, 1, 1, 2)
out = net.forward(blobs=['fc8_interp'])
labels = out['crf_inf'][0].argmax(axis=0)[:30, :28]
"""
DEEPLAB_NET = """input: "data" input_shape { dim: 1 dim: 3 dim: 33 dim: 33 }
input: "data_dim" input_shape { dim: 1 dim: 1 dim: 1 dim: 2 }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" convolution_param { num_output: 4
  kernel_size: 3 pad: 2 dilation: 2 weight_filler { type: "gaussian" std: 0.01 } } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param { pool: MAX
  kernel_size: 3 pad: 1 stride: 2 } }
layer { name: "fc8" type: "Convolution" bottom: "pool1" top: "fc8" convolution_param { num_output: 3
  kernel_size: 1
  weight_filler { type: "gaussian" std: 0.1 } } }
layer { name: "fc8_interp" type: "Interp" bottom: "fc8" top: "fc8_interp" interp_param { zoom_factor: 2 } }
layer { name: "crf" type: "DenseCRF" bottom: "fc8_interp" bottom: "data_dim" bottom: "data" top: "crf_inf"
  dense_crf_param { max_iter: 3 pos_w: 3 pos_xy_std: 3 bi_w: 5 bi_xy_std: 50 bi_rgb_std: 10 } }
"""


def test_deeplab_with_its_crf(run, caffe) -> None:
    Path("test.prototxt").write_text(DEEPLAB_NET)
    caffe.Net("test.prototxt", caffe.TEST).save("deeplab.caffemodel")
    names = run(DEEPLAB)
    ours = rlossctl.load_net("test.prototxt", "deeplab.caffemodel")
    inputs = {name: torch.from_numpy(names["net"].blobs[name].data.copy()) for name in ("data", "data_dim")}
    blobs = ours.forward_blobs(**inputs)
    assert np.array_equal(names["out"]["fc8_interp"], blobs["fc8_interp"].detach())
    assert np.allclose(names["out"]["crf_inf"], blobs["crf_inf"].detach(), atol=1e-5)
    assert names["labels"].shape == (30, 28)
