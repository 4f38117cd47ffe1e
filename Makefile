VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
