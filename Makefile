# A fresh Debian 12 with git, make, and root or sudo is enough: every target sets up what it needs.
JOBS ?= $(shell nproc)
FUZZ_SECONDS ?= 20
# Test binaries (rooms of src/ or folders of tests/) that run under a sanitizer.
ASAN_TESTS ?= base spec plan serve e2e
# Of the whole program, what strangers' files and options can reach.
ASAN_E2E ?= Broken*:*Refus*:*Question*:Catalog.*:Audit.*:Help.*
TSAN_TESTS ?= comm fault equivalence
TSAN_FILTER ?= *
# Under tsan the equivalence cube runs every n-th plan only.
TSAN_CUBE_STRIDE ?= 61
export JOBS FUZZ_SECONDS
# The compiler cache may serve another clone of this tree.
export CCACHE_BASEDIR ?= $(CURDIR)
export CCACHE_NOHASHDIR ?= 1

.PHONY: help setup build demo test validate lint format asan tsan fuzz clean
help:
	@echo "make demo   run the shipped model on four ranks and on one, and compare the bits"
	@echo "make build  build/release/pentafold"
	@echo "make test   all tests"
	@echo "make validate            predictions against published measurements; MEASUREMENTS=FILE.csv"
	@echo "make lint   clang-format and clang-tidy    make format  let clang-format have its way"
	@echo "make asan   make tsan   make fuzz          selected tests under sanitizers; fuzz targets"
	@echo "make setup  install packages.txt           make clean   remove build/"

setup:
	@scripts/setup

build: setup
	cmake --preset release >/dev/null
	cmake --build --preset release -j $(JOBS) --target pentafold

demo: build
	@scripts/demo.sh

test: setup
	cmake --preset release >/dev/null
	cmake --build --preset release -j $(JOBS)
	ctest --test-dir build/release -j $(JOBS) --output-on-failure

validate: build
	@scripts/validate $(MEASUREMENTS)

lint: setup
	cmake --preset release >/dev/null
	@scripts/lint

format: setup
	git ls-files '*.h' '*.cc' '*.cu' '*.cuh' | xargs clang-format-19 -i

asan: setup
	@FILTER_e2e='$(ASAN_E2E)' scripts/sanitize asan $(ASAN_TESTS)

tsan: setup
	@FILTER='$(TSAN_FILTER)' PENTAFOLD_CUBE_STRIDE=$(TSAN_CUBE_STRIDE) scripts/sanitize tsan $(TSAN_TESTS)

fuzz: setup
	@scripts/fuzz

clean:
	rm -rf build
