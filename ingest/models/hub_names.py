"""A name on the model hub without a file: which of a repository's GGUF files is meant."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

import httpx

from ingest.errors import UsageError
from ingest.models.fetching import HUB, Unavailable, hub_client

# Four bits first: with fewer a small model loses facts, with more every token costs more memory traffic on an ordinary processor.
_PREFERRED = (
    "q4_k_m",
    "q4_k_s",
    "iq4_xs",
    "iq4_nl",
    "q4_0",
    "q4_1",
    "q5_k_m",
    "q5_k_s",
    "q5_0",
    "q6_k",
    "q8_0",
    "q3_k_m",
    "bf16",
    "f16",
)
_PART = re.compile(r"-\d{5}-of-\d{5}\.gguf$")
REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


def chosen_file(repository: str, files: Iterable[str]) -> str:
    """The file of a repository to use: a whole one, four bits before others. Raises UsageError when there is none.

    >>> chosen_file("a/b", ["m-q8_0.gguf", "m-Q4_K_M.gguf", "README.md"])
    'm-Q4_K_M.gguf'
    """
    models = sorted(f for f in files if f.lower().endswith(".gguf") and not Path(f).name.lower().startswith(("mmproj", "imatrix")))
    whole = [f for f in models if not _PART.search(f)]
    if not whole:
        found = "only files in several parts" if models else "no GGUF file"
        raise UsageError(f"{repository} holds {found}: name a repository with a whole GGUF file, or a file on this computer")

    def rank(name: str) -> tuple[int, int, str]:
        words = re.split(r"[^a-z0-9_]+", Path(name).name.lower())
        places = [n for n, kind in enumerate(_PREFERRED) if kind in words]
        return (places[0] if places else len(_PREFERRED), len(name), name)

    return min(whole, key=rank)


def file_on_hub(repository: str) -> str:
    """The file to use of a repository on the hub, or on the mirror ``HF_ENDPOINT`` names. Raises Unavailable, UsageError."""
    hub = (os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")
    try:
        with hub_client() as client:
            response = client.get(f"{hub}/api/models/{repository}")
        if response.status_code >= 400:
            raise UsageError(f"the model hub has no {repository} (status {response.status_code}): check the name")
        files = [str(row["rfilename"]) for row in response.json()["siblings"]]
    except (httpx.HTTPError, ImportError, OSError) as error:
        raise Unavailable(repository, [f"model hub: {' '.join(str(error).split())}"]) from None
    except (ValueError, KeyError, TypeError):
        raise Unavailable(repository, ["model hub: it does not list the files"]) from None
    return chosen_file(repository, files)
