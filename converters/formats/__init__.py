"""Writes weights in other programs' formats, and upgrades old Caffe files: one file per format."""
