"""Weights in other programs' files, and old Caffe files in today's form: one file per format."""
