"""What one command does on the host, from start to end.

All that the host's half needs is imported here, first: a package that is missing or broken is said before hours of work
and not after them.
"""

import onnx  # noqa: F401  see above
import safetensors  # noqa: F401  see above
import sklearn  # noqa: F401  see above
import torch  # noqa: F401  see above
import torchvision  # noqa: F401  see above
