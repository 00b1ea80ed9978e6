# The chain, one line a stage; each stage does nothing when it is up to date.
#
#   data ─> train ─> export ─> compile ─┬─> sim ──────┐      REFERENCE=1: data ─> reference ─┬─> ...
#                                       ├─> cycles ───┤
#                                       ├─> activity ─┼─> report
#                                       ├─> synth ────┘
#                                       └─> native, fold, compare-finn: in the report where they have run

.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
NET     ?= demo
LUTS    ?= 20000
DESIGNS := $(if $(REFERENCE),reference,compile)
PYTHON  ?= python3
READY   := .venv/.ready
SCAFLOW := .venv/bin/scaflow
PYTEST  := .venv/bin/python -m pytest
export OMP_WAIT_POLICY ?= PASSIVE  # a waiting thread leaves its processor to the others

.PHONY: help setup data demo train export compile reference sim cycles activity native synth fold finn \
	compare-finn report test test-full lint clean

help:            ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1	/p' $(MAKEFILE_LIST) | expand -t 22
	@echo "NET=<network TOML, or the name of one in model/configs>; now NET=$(NET). More options: scaflow VERB --help"
	@echo "REFERENCE=1: no training; the designs are laid out from graphs that come with the program (make reference)"
setup: $(READY)  ## a virtual environment in .venv with everything in it
$(READY): pyproject.toml
	$(PYTHON) -m venv .venv && .venv/bin/pip install --quiet -e '.[lint,cluster]' && touch $@

data: $(READY)   ## the images of NET, into data/
	$(SCAFLOW) data $(NET)
demo: $(READY)   ## the whole chain on NET, and the comparison
	$(SCAFLOW) demo $(NET)
train: data      ## train NET dense and with SCA pruning
	$(SCAFLOW) train $(NET)
export: train    ## both as QONNX
	$(SCAFLOW) export $(NET)
compile: export  ## QONNX to the dense, skip, compact and event designs in SystemVerilog
	$(SCAFLOW) compile $(NET)
reference: data  ## the same designs from the graphs that come with the program, without training
	$(SCAFLOW) reference $(NET)
sim: $(DESIGNS) ## the designs against the golden model, on test images
	$(SCAFLOW) sim $(NET)
cycles: $(DESIGNS) ## each stage of the designs against the cycle law and the exact clock
	$(SCAFLOW) cycles $(NET)
activity: $(DESIGNS) ## the events of test images, and what they cost by either scheduler
	$(SCAFLOW) activity $(NET)
native: $(DESIGNS) ## the whole test set through the designs
	$(SCAFLOW) sim $(NET) --engine native --images 10000
synth: $(DESIGNS) ## resources and routed clock
	$(SCAFLOW) synth $(NET)
fold: $(DESIGNS) ## PE, SIMD and schedulers of NET for LUTS=20000, or for FPS=5000
	$(SCAFLOW) fold $(NET) $(if $(FPS),--target-fps $(FPS),--max-luts $(LUTS))
finn: build/finn/venv/.ready ## FINN (finn-plus) in an environment of its own, for compare-finn
build/finn/venv/.ready: flow/finn/requirements.txt
	$(PYTHON) -m venv $(@D) && $(@D)/bin/pip install --quiet -r $< && $(@D)/bin/pip install --quiet --no-deps finn-plus==1.6.1 && touch $@
compare-finn: $(DESIGNS) ## FINN's circuits measured beside ours (make finn first)
	$(SCAFLOW) compare-finn $(NET)
report: sim cycles activity synth ## the comparison, from what all stages wrote
	$(SCAFLOW) report $(NET)

test: $(READY)   ## the tests, in minutes
	$(PYTEST) -n 3 --dist worksteal -m "not full"
test-full: $(READY) ## the tests and the wide sweeps
	$(PYTEST) -n 3 --dist worksteal
lint: $(READY)   ## the linter and the type checker
	.venv/bin/ruff check
	.venv/bin/mypy
	.venv/bin/mypy --strict -p scaflow.quant -p scaflow.hw
clean:           ## remove what was generated; the data and .venv stay
	rm -rf build
