"""What reading a damaged .npz file raises."""

import struct
import zipfile
import zlib

DAMAGE = (OSError, ValueError, KeyError, EOFError, RuntimeError, struct.error, zlib.error, zipfile.BadZipFile)
