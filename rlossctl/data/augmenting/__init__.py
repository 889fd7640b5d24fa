"""Random warps and colours of photos with their labels: fields of transform_param that Caffe has not."""
