# Two commands: `make run` (set everything up, open the page) and `make test` (everything CI runs).
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
SHELL := /bin/bash

# llama.cpp is built here, for this processor. What we do not use of it is left out: multimodal, server, tools, tests, examples.
export CMAKE_ARGS ?= -DCMAKE_PROJECT_INCLUDE=$(CURDIR)/.ci/llama.cmake -DLLAVA_BUILD=OFF -DLLAMA_BUILD_TOOLS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_APP=OFF -DLLAMA_OPENSSL=OFF
export CMAKE_BUILD_PARALLEL_LEVEL ?= $(shell nproc 2>/dev/null || echo 2)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
DEBIAN := [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends

.PHONY: run install test lint types tests browser writers clean

run: install
	$(BIN)/mianpu serve --starter-notes

install: $(VENV)/.installed

# torch goes first and alone: what asks for torch later is then satisfied by the build pip chose here.
$(VENV)/.installed: pyproject.toml .ci/llama.cmake
	@test -n "$(PYTHON)" || { echo "Python 3.11 is needed: install it, or run make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is too old: Python 3.11 is needed (make PYTHON=/path/to/python3.11)" >&2; exit 2; }
	"$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install torch==2.13.0
	$(BIN)/python -m pip install -e .
	touch $@

$(VENV)/.installed-tests: $(VENV)/.installed
	$(BIN)/python -m pip install -e '.[test]'
	touch $@

lint: $(VENV)/.installed-tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-tests
	$(BIN)/mypy

# The system's Chromium, else Debian's package where root allows, else Playwright's own.
browser: $(VENV)/.installed-tests
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null \
	|| { $(DEBIAN) chromium fonts-noto-cjk; } \
	|| $(BIN)/playwright install chromium

# The programs that write the files of the round trips; without them these tests are skipped, and fail under CI.
writers:
	@{ command -v pandoc && command -v soffice; } >/dev/null \
	|| { $(DEBIAN) pandoc libreoffice-writer-nogui libreoffice-impress-nogui fonts-noto-cjk fonts-dejavu-core; } \
	|| echo "pandoc and LibreOffice are not installed: the round trips are skipped" >&2

tests: browser writers
	$(BIN)/mianpu models fetch
	$(BIN)/pytest

test: lint types tests

clean:
	rm -rf $(VENV) build *.egg-info
