# `make demo` and `make test` are all that a newcomer needs; both make .venv first, once.
PYTHON ?= python3
BIN := .venv/bin
STAMP := $(shell date +%Y%m%d-%H%M%S)
RUN := runs/quickstart/$(STAMP)

.PHONY: demo test soak lint bench clean
.DELETE_ON_ERROR:

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

# Only what an interrupted rendering left behind is ever overwritten; data that is there already is used as it is.
data/replicator_shape/.rendered: | .venv/installed
	if [ -e $(@D)/.unfinished ]; then $(BIN)/fusionlit render $(@D) --frames 400 --seed 0 --overwrite; \
	elif [ ! -e $(@D)/cubes ]; then $(BIN)/fusionlit render $(@D) --frames 400 --seed 0; fi
	touch $@

demo: .venv/installed data/replicator_shape/.rendered
	$(BIN)/fusionlit fit --config configs/quickstart.yaml --trainer.logger.init_args.version $(STAMP)
	$(BIN)/fusionlit test --config $(RUN)/config.yaml --ckpt_path $(RUN)/checkpoints/best.ckpt
	$(BIN)/fusionlit weights $(RUN)
	@echo "See every fusion weight move:  $(BIN)/tensorboard --logdir runs/quickstart"

test: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist loadgroup

# What takes minutes: each has a shorter sibling in `make test`.
soak: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist loadgroup -m soak

# Ours side by side with the plain way, minutes each; rows of figures go to benchmarks/results.
bench: .venv/installed
	for each in data_path training low_rank loop; do $(BIN)/python benchmarks/$$each.py || exit 1; done

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf .venv runs data build *.egg-info
