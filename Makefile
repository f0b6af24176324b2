# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

KERNELS ?= 5.10 6.1 6.12 7.3
SCENARIO ?=
JOBS ?= 2
PYTHON ?=

BIN := .venv/bin
LINK := .ansible/collections/ansible_collections/kernelops/kmod
LAB := python3 tests/lab
STEP := python3 tests/tools/steps.py run
# chromium looks at the audit's page; openssl, kmod and both binutils are what our own answers are compared with.
PACKAGES := binutils binutils-aarch64-linux-gnu chromium git kmod openssl perl python3-venv

export PATH := $(CURDIR)/$(BIN):$(PATH)
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg

.PHONY: help
help: ## this list
	@echo 'make TARGET, with KERNELS="$(KERNELS)", SCENARIO=all but aarch64, fleet and synthesized, and JOBS=$(JOBS) guests side by side unless told:'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo 'Times are of two cores without KVM; the first build of an image takes 2 minutes each.'

.PHONY: prepare
prepare: ## installs the Debian packages that all else needs, as root (1 minute; at once if they are there)
	@missing=$$(for name in $(PACKAGES); do dpkg-query -Wf '$${Status}' $$name 2>&1 | grep -q ' installed$$' || echo $$name; done); \
	if [ -n "$$missing" ]; then \
	  if [ "$$(id -u)" != 0 ]; then echo "Debian packages are missing:" $$missing "- as root: make prepare"; exit 1; fi; \
	  echo "Installing Debian packages:" $$missing "(about a minute)"; \
	  apt-get -qq update && \
	  DEBIAN_FRONTEND=noninteractive apt-get -qqy -o Dpkg::Use-Pty=0 install --no-install-recommends $$missing; \
	fi
	@$(LAB) prepare

.PHONY: venv
venv: .venv/installed $(LINK) ## the tools, pinned, in .venv (40 seconds once)

.venv/installed: requirements-dev.txt requirements-unit.txt
	@$(MAKE) --no-print-directory prepare
	@rm -rf .venv
	@python='$(PYTHON)'; python=$${python:-$$(python3 tests/tools/pythons.py tools)} && \
	echo "Installing the tools into .venv with $$python, about 40 s ..." && $$python -m venv .venv
	@$(BIN)/pip install -qq --disable-pip-version-check -r requirements-dev.txt
	@touch $@

# Tools that want other versions than those in .venv, or that few need.
.venv-%/installed: requirements-%.txt | .venv/installed
	@rm -rf .venv-$*
	@echo 'Installing requirements-$*.txt into .venv-$*, about 30 s ...' && $(BIN)/python -m venv .venv-$*
	@.venv-$*/bin/pip install -qq --disable-pip-version-check -r $<
	@touch $@

# The collection's place in a collections_path, for ansible, ansible-lint, mypy and molecule.
$(LINK):
	@mkdir -p $(@D)
	@ln -sfn ../../../.. $@

.PHONY: lint
lint: ruff mypy imports yamllint ansible-lint checkpatch ## ruff, mypy, import-linter, yamllint, ansible-lint, the kernel's checkpatch (30 seconds)

.PHONY: ruff
ruff: venv
	@$(STEP) $@ -- ruff check

.PHONY: mypy
mypy: venv
	@$(STEP) 'mypy, collection' -- mypy -p ansible_collections.kernelops.kmod.plugins
	@$(STEP) 'mypy, event source' -- mypy extensions/eda/plugins/event_source/module_stuck.py
	@$(STEP) 'mypy, tests' -- mypy tests/lab tests/tools tests/demo.py tests/eda/live.py tests/bench
	@$(STEP) 'mypy, torture' -- mypy tests/torture
	@$(STEP) 'mypy, sweep' -- mypy tests/sweep
	@$(STEP) 'mypy, guides' -- mypy tests/guides
	@$(STEP) 'mypy, real' -- mypy tests/real

.PHONY: imports
imports: venv
	@$(STEP) 'import-linter' -- env PYTHONPATH=.ansible/collections lint-imports --no-logo --cache-dir .cache/imports

.PHONY: yamllint
yamllint: venv
	@$(STEP) $@ -- yamllint --strict .

.PHONY: ansible-lint
ansible-lint: venv
	@$(STEP) $@ -- ansible-lint --offline

.PHONY: checkpatch
checkpatch: venv
	@$(STEP) $@ -- python3 tests/tools/checkpatch.py

.PHONY: hooks
hooks: venv ## has git run ruff, mypy, yamllint, checkpatch before each commit in this checkout
	@pre-commit install

.PHONY: sanity
sanity: venv ## ansible-test sanity with no ignore file (1 minute, 3 the first time)
	@$(STEP) 'ansible-test sanity' -- $(BIN)/python tests/tools/sanity.py

.PHONY: unit
unit: venv ## the unit tests, and those of the playbooks' reports in a browser (2 minutes)
	@$(STEP) 'unit tests' --junit tests/output/junit/unit.xml -- pytest --junit-xml tests/output/junit/unit.xml
	@$(STEP) 'tests of playbooks and pages' --junit tests/output/junit/controller.xml -- \
	  pytest --junit-xml tests/output/junit/controller.xml tests/controller
	@$(STEP) 'tests of the event source, ansible-runner, ansible-builder' --junit tests/output/junit/eda.xml -- \
	  pytest --junit-xml tests/output/junit/eda.xml tests/eda

.PHONY: units-all-pythons
units-all-pythons: venv ## the unit tests under every other Python from 3.6 on (2 minutes, 4 the first time)
	@python3 tests/tools/unit_all_pythons.py

.PHONY: units-oldest units-newest
units-oldest: venv ## the same under the oldest of them alone (2 minutes)
	@python3 tests/tools/unit_all_pythons.py --oldest

units-newest: venv ## the same under the newest of them alone (2 minutes)
	@python3 tests/tools/unit_all_pythons.py --newest

.PHONY: ansible-versions
ansible-versions: venv ## the playbooks and modules under each ansible-core from 2.16 on, as one table (8 minutes each, two side by side, beside busy guests)
	@$(BIN)/python tests/tools/ansible_versions.py $(VERSIONS)

.PHONY: release-check
release-check: venv .venv-release/installed ## is HEAD fit to publish: built, Galaxy's importer, installed, tried (4 minutes beside busy guests)
	@$(BIN)/python tests/tools/release_check.py

.PHONY: lab
lab: prepare ## the disk images of KERNELS and the fault modules for them (3 minutes each, once)
	@$(LAB) build $(KERNELS)
	@$(LAB) modules $(KERNELS)

.PHONY: molecule
molecule: prepare venv ## the scenarios in guests: make molecule KERNELS=6.1 SCENARIO=cure (3 minutes; all: 45)
	@$(STEP) 'lab: images and fault modules' -- $(MAKE) --no-print-directory lab
	@$(BIN)/python tests/tools/run_molecule.py --jobs $(JOBS) $(SCENARIO:%=--scenario %) $(KERNELS)

.PHONY: aarch64
aarch64: ## the scenarios on Debian's AArch64 kernels, in emulated guests (40 minutes; 15 more for the images, once)
	@$(MAKE) --no-print-directory molecule KERNELS='arm64-6.1 arm64-6.12' SCENARIO='adhoc cure explain layout refuse aarch64'

# Which of them: make torture KERNELS=6.1 FAULTS="init_oops init_hang" CONDITIONS="plain two"; empty: all.
FAULTS ?=
CONDITIONS ?=

# Two runs beside each other share the faults by a directory that is empty before: make faults SHARED=/tmp/x RUN=1.
RUN ?= 1
SHARED ?=
OF_FAULTS = tests/output/junit/faults-$(KERNELS)-$(RUN).xml

.PHONY: faults
faults: prepare venv ## the main job, on KERNELS: each fault told, foreseen, unloaded, parked or refused, in a guest (12 minutes each)
	@$(STEP) 'lab: images and fault modules' -- $(MAKE) --no-print-directory lab
	@$(STEP) 'faults on $(KERNELS), run $(RUN)' --junit '$(OF_FAULTS)' -- \
	  $(BIN)/python tests/torture table --kernels '$(KERNELS)' --faults '$(FAULTS)' --conditions 'plain hidden' \
	  $(SHARED:%=--shared %) --guest faults-$(RUN) --junit '$(OF_FAULTS)'

.PHONY: torture
torture: prepare venv ## every fault under every condition on KERNELS, as one table (all: hours; one fault under one condition: a minute)
	@$(STEP) 'lab: images and fault modules' -- $(MAKE) --no-print-directory lab
	@$(BIN)/python tests/torture table --kernels '$(KERNELS)' --faults '$(FAULTS)' --conditions '$(CONDITIONS)'

# Which of them: make sweep KERNELS=6.12 SAMPLES="class proc"; empty: all.
SAMPLES ?=

.PHONY: sweep
sweep: prepare venv ## drivers that die after each step of init and exit, taken back, and their fixed builds used, on each of KERNELS (20 minutes each)
	@$(STEP) 'lab: images and fault modules' -- $(MAKE) --no-print-directory lab
	@$(BIN)/python tests/sweep run --kernels '$(KERNELS)' --samples '$(SAMPLES)'

.PHONY: sweep-docs
sweep-docs: venv ## docs/SWEEP.md and the README's numbers, from the last sweeps in this checkout
	@$(BIN)/python tests/sweep docs

.PHONY: torture-stale-entry
torture-stale-entry: prepare venv ## 1,500 loads after an unload, and the crash where the entry is left, on each of KERNELS (5 minutes each)
	@$(STEP) 'lab: images and fault modules' -- $(MAKE) --no-print-directory lab
	@$(BIN)/python tests/torture stale-entry --kernels '$(KERNELS)'

.PHONY: torture-hazards
torture-hazards: prepare venv ## every hazard refused, accepted by name, and what that brings about, on each of KERNELS (4 minutes each)
	@$(STEP) 'lab: images and fault modules' -- $(MAKE) --no-print-directory lab
	@$(BIN)/python tests/torture hazards --kernels '$(KERNELS)'

.PHONY: torture-memory
torture-memory: prepare venv ## 200 unloads in one guest, and what grows by them, on each of KERNELS (10 minutes each)
	@$(STEP) 'lab: images and fault modules' -- $(MAKE) --no-print-directory lab
	@$(BIN)/python tests/torture memory --kernels '$(KERNELS)'

# Which of them: make real CASES="wireguard; loop", by the names or modules in tests/real/use_cases.py; empty: all.
CASES ?=

.PHONY: real
real: prepare venv ## real modules in real use, refused, named, and freed by the command told; on 6.12 unless told (30 minutes)
	@$(BIN)/python tests/real --kernels '$(if $(filter file,$(origin KERNELS)),6.12,$(KERNELS))' --cases '$(CASES)'

.PHONY: trees
trees: venv ## judges each of the 4,000 module files of each of KERNELS (half a minute)
	@$(STEP) 'lab: images and fault modules' -- $(MAKE) --no-print-directory lab
	@for kernel in $(KERNELS); do \
	  $(STEP) "module files of $$kernel" -- $(BIN)/python tests/bench/module_tree.py --pairs 0 "$$($(LAB) rootfs $$kernel)" || exit 1; \
	done

.PHONY: demo
demo: prepare venv ## two stuck modules, one unloaded and one parked, live in one guest (6 minutes; 3 more for the image, once)
	@$(BIN)/python tests/demo.py

.PHONY: pictures
pictures: prepare venv ## the documentation's pictures, from a run of the demo (7 minutes)
	@$(BIN)/python tests/tools/pictures.py

.PHONY: bench
bench: prepare venv ## what the collection costs, on a host, a fleet and its controller, as ratios in one run (30 minutes)
	@$(BIN)/python tests/bench/on_host.py
	@$(BIN)/python tests/bench/native.py
	@$(BIN)/python tests/bench/on_fleet.py
	@$(BIN)/python tests/bench/on_controller.py --real 1 --forks 25

.PHONY: java
java:
	@command -v java > /dev/null || { echo 'ansible-rulebook needs Java 17: as root, apt-get install default-jre-headless'; exit 1; }

.PHONY: eda
eda: prepare venv java .venv-eda/installed ## ansible-rulebook watches a guest and unloads its module; needs Java 17 (10 minutes; not in make test)
	@$(STEP) 'ansible-rulebook and a guest' -- $(BIN)/python tests/eda/live.py

# Which of them: make guides GUIDE="init_died in_use"; empty: all.
GUIDE ?=

.PHONY: guides
guides: prepare venv ## follows the guides word for word in a guest: make guides GUIDE=init_died (2 to 8 minutes each)
	@$(STEP) 'lab: images and fault modules' -- $(MAKE) --no-print-directory lab KERNELS='6.1 bare-6.1'
	@$(BIN)/python tests/guides $(GUIDE)

.PHONY: docs
docs: venv .venv-docs/installed ## checks the documentation and builds its site in tests/output/docs (1 minute, 4 the first time)
	@$(STEP) 'documentation and its site' -- $(BIN)/python tests/tools/docs.py .venv-docs/bin

.PHONY: scale
scale: prepare venv ## what a fleet costs the controller, by hosts and forks (10 minutes)
	@$(BIN)/python tests/bench/on_controller.py

.PHONY: support
support: venv ## the README's table of what was tested, from the results of the last make test or make molecule
	@$(BIN)/python tests/tools/support.py

.PHONY: test
test: prepare ## what a change has to pass: lint, sanity, unit tests, documentation, and the main job on the newest stable kernel (15 minutes, 20 the first time)
	@python3 tests/tools/suite.py test --lanes $(JOBS)

# No step begins that would not end within so many minutes: make matrix WITHIN=50.
WITHIN ?=

.PHONY: matrix
matrix: prepare ## what make test-all runs besides: each other kernel's main job, then the scenarios on all four (about an hour)
	@python3 tests/tools/suite.py matrix --lanes $(JOBS) $(WITHIN:%=--within %)

.PHONY: test-all
test-all: ## make test, and then the whole matrix (well over an hour)
	@status=0; \
	$(MAKE) --no-print-directory test || status=$$?; \
	$(MAKE) --no-print-directory matrix || status=$$?; \
	python3 tests/tools/steps.py summary $$status | tail -n 1; exit $$status

.PHONY: clean
clean: ## ends the lab's guests and removes what make has made in this checkout (the lab's images stay)
	@$(LAB) down --all
	rm -rf .venv .venv-docs .venv-eda .venv-release .ansible .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis tests/output
