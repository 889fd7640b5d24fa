"""caffe.proto: the messages."""
