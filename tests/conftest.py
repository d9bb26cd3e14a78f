"""Every test runs without a network, without usage pings, and without a progress bar for each tiny dataset.

What tests keep in the cache is not the user's: theirs is a temporary folder that has the embedded model only.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from ringfence.core.files import cache_folder

# Tests run side by side, one thread each.
for _threads in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_threads, "1")
os.environ.update(
    HF_HUB_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_DATASETS_DISABLE_PROGRESS_BARS="1",
    TOKENIZERS_PARALLELISM="false",
)

_own, _users = Path(tempfile.mkdtemp(prefix="ringfence-tests-")), cache_folder()
atexit.register(shutil.rmtree, _own, ignore_errors=True)
if _users.is_dir():
    for _made in _users.glob("smollm2-135m"):
        (_own / _made.name).symlink_to(_made)
os.environ.update(RINGFENCE_CACHE=str(_own), TRACKIO_DIR=str(_own / "trackio"))
