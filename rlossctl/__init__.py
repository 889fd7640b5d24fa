"""rlossctl: Caffe's segmentation nets and regularized losses, run and trained by PyTorch."""
