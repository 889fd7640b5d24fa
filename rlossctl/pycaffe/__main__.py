"""`python -m rlossctl.pycaffe SCRIPT`."""

import sys

from rlossctl.pycaffe.running import main

main(sys.argv[1:])
