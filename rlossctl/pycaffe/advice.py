"""What the errors of old scripts mean today, and what to do about them."""

from __future__ import annotations

import re
import sysconfig
import traceback
from pathlib import Path
from typing import NamedTuple

from rlossctl.errors import RlossError

_OTHERS = ("<frozen", sysconfig.get_paths()["stdlib"], str(Path(__file__).resolve().parents[1]))


class Known(NamedTuple):
    """An error that scripts written for Caffe meet today.

    Attributes:
        name: of the error, for the documentation.
        example: what Python says.
        pattern: found in "TypeOfError: its text".
        message: what it means.
        advice: what to do.
    """

    name: str
    example: str
    pattern: str
    message: str
    advice: str


KNOWN = (
    Known(
        "Python 2's print",
        "SyntaxError: Missing parentheses in call to 'print'. Did you mean print(...)?",
        r"SyntaxError: (Missing parentheses in call to '(print|exec)'|multiple exception types must be"
        r"|leading zeros in decimal|invalid decimal literal|invalid hexadecimal literal)",
        "this file is Python 2",
        "pip install rlossctl[pycaffe], with which `rlossctl run` reads Python 2 as it is; if that is "
        "installed, the file is neither Python 2 nor 3: correct it",
    ),
    Known(
        "Python 2's names",
        "NameError: name 'xrange' is not defined",
        r"NameError: name '(xrange|raw_input|unicode|basestring|long|unichr|reduce|file|execfile|cmp|izip)'",
        "this file uses a name that Python 3 does not have",
        "add --python2, with which `rlossctl run` reads the script as Python 2",
    ),
    Known(
        "Python 2's dictionaries",
        "AttributeError: 'dict' object has no attribute 'iteritems'",
        r"AttributeError: '\w*[dD]ict' object has no attribute '(iteritems|itervalues|iterkeys|has_key)'"
        r"|TypeError: '(odict|dict)_(keys|values|items)' object is not subscriptable",
        "this line uses a dictionary as in Python 2",
        "add --python2; or write .items(), .values(), `in`, and list(...) to take an element by number",
    ),
    Known(
        "Python 2's modules",
        "ModuleNotFoundError: No module named 'cPickle'",
        r"No module named '(cPickle|Queue|ConfigParser|StringIO|cStringIO|urllib2|urlparse|Tkinter|commands)'"
        r"|cannot import name '(izip|imap|ifilter|izip_longest)' from 'itertools'",
        "this module has another name in Python 3",
        "add --python2, or write pickle, queue, configparser, io, urllib.request, tkinter, zip, map",
    ),
    Known(
        "integers divided",
        "TypeError: 'float' object cannot be interpreted as an integer",
        r"TypeError: ('float' object cannot be interpreted as an integer|slice indices must be integers)"
        r"|IndexError: only integers, slices",
        "a size or an index is not an integer: in Python 3 the quotient of two integers is a float",
        "add --python2, which divides integers as Python 2; or write // for /, and int(...) around sizes",
    ),
    Known(
        "np.float, np.int, np.bool, np.object",
        "AttributeError: module 'numpy' has no attribute 'float'",
        r"AttributeError: [`']?(module 'numpy' has no attribute '|np\.|`np\.)(float|int|bool|object|str|long|"
        r"float_|unicode_|product|asscalar)\b",
        "NumPy 1.24 and 2.0 removed this name",
        "write float, int, bool, object, or a type with its size: np.float32",
    ),
    Known(
        "bytes and arrays",
        "AttributeError: 'numpy.ndarray' object has no attribute 'tostring'",
        r"has no attribute '(tostring|fromstring)'|binary mode of fromstring is removed"
        r"|a bytes-like object is required, not 'str'|write\(\) argument must be str, not bytes"
        r"|UnicodeDecodeError: '(ascii|utf-8)' codec can't decode byte",
        "Python 3 tells bytes from text",
        'write .tobytes(), np.frombuffer(...), open(name, "rb") and open(name, "wb") for files of bytes, and '
        'pickle.load(file, encoding="latin1") for pickles of Python 2',
    ),
    Known(
        "skimage's as_grey",
        "TypeError: imread() got an unexpected keyword argument 'as_grey'",
        r"unexpected keyword argument '(as_grey|multichannel)'|No module named 'skimage",
        "scikit-image has renamed this argument, or is not installed",
        "write as_gray=..., channel_axis=-1; or use caffe.io.load_image(name, color) and "
        "caffe.io.resize_image, which need no scikit-image",
    ),
    Known(
        "protobuf's versions",
        "TypeError: Descriptors cannot be created directly.",
        r"Descriptors cannot (not )?be created directly|cannot import name 'builder' from 'google.protobuf"
        r"|Couldn't build proto file into descriptor pool|has no attribute 'SetTotalBytesLimit'"
        r"|No module named '\w*caffe_pb2'",
        "this caffe_pb2.py was made by another protobuf than the one that is installed",
        "leave that file out of PYTHONPATH: `from caffe.proto import caffe_pb2` gives messages that fit "
        "every protobuf",
    ),
    Known(
        "scipy.misc, pyplot.hold and OpenCV's old names",
        "AttributeError: module 'scipy.misc' has no attribute 'imread'",
        r"scipy\.misc|No module named 'scipy.misc'|cannot import name 'im(read|resize|save)' from 'scipy"
        r"|module 'matplotlib.pyplot' has no attribute 'hold'|module 'cv2' has no attribute '(cv|CV_\w+)'"
        r"|cannot import name 'zoom' from 'scipy.ndimage.interpolation'",
        "a package has dropped this name",
        "write PIL.Image.open, PIL.Image.resize and Image.fromarray(...).save for scipy.misc; leave "
        "pyplot.hold out; write cv2.IMREAD_COLOR for cv2.CV_LOAD_IMAGE_COLOR",
    ),
    Known(
        "lines of a notebook",
        "NameError: name 'get_ipython' is not defined",
        r"NameError: name 'get_ipython'|SyntaxError: invalid syntax \(.*\) at: [%!]",
        "this file is an exported notebook",
        "take the lines that begin with % or ! or call get_ipython() out, or run it with IPython",
    ),
    Known(
        "yaml.load",
        "TypeError: load() missing 1 required positional argument: 'Loader'",
        r"load\(\) missing 1 required positional argument: 'Loader'",
        "PyYAML 6 wants to be told what the text may contain",
        "write yaml.safe_load(text)",
    ),
    Known(
        "a package that is not installed",
        "ModuleNotFoundError: No module named 'six'",
        r"ModuleNotFoundError: No module named '(six|matplotlib|skimage|scipy|cv2|h5py|yaml|pandas|lmdb|"
        r"leveldb|setproctitle|easydict|IPython|sklearn)",
        "the script needs a package that is not installed",
        "pip install it (cv2: opencv-python, yaml: PyYAML, skimage: scikit-image, sklearn: scikit-learn); "
        "rlossctl[pycaffe] brings six, SciPy, h5py and fissix",
    ),
)


def advised(error: BaseException) -> RlossError | None:
    """The paragraph for an exception of a script, where it is known what it means."""
    if isinstance(error, RlossError):
        return error
    text = _told(error)
    for known in KNOWN:
        if re.search(known.pattern, text):
            file, line = _place(error)
            return RlossError(
                known.message,
                where=f"{file}:{line}" if file else None,
                found=text.partition("\n")[0],
                advice=known.advice,
            )
    return None


def _told(error: BaseException) -> str:
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError) and error.text:
        text += f" at: {error.text.strip()}"
    return text


def _place(error: BaseException) -> tuple[str | None, int | None]:
    """The file and line where the error arose; of a file that is not Python, the line in it."""
    if isinstance(error, SyntaxError):
        return error.filename, error.lineno
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if is_script(frame.filename)]
    return (own[-1].filename, own[-1].lineno) if own else (None, None)


def is_script(filename: str) -> bool:
    """Whether a file is the user's: none of Python's own, of an installed package, nor of this one."""
    return "site-packages" not in filename and not filename.startswith(_OTHERS)
