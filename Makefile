# netmend. `make demo` repairs a faulty model, `make test` is what CI runs; both install what is missing (scripts/deps.sh).

GO      ?= go
BIN     := bin/netmend
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null)
.PHONY: all build deps test check demo bench kernels test-gorgonia gpu-check clean

all: build

build: deps
	$(GO) build -ldflags "-X main.version=$(VERSION)" -o $(BIN) ./cmd/netmend

deps:
	@scripts/deps.sh

# Formatting, static checks, a build without C, every test, and once more with the race detector where there is no C (the two do not go
# together here); -short leaves out repetitions there, the detector being ten times slower. The counts of onnx-go's suite are printed.
test: check
	$(GO) test ./...
	@$(GO) test ./onnx/onnxgo -run Suite -v | grep -E 'BackendSuite/|passed'
	$(GO) test -race -short -timeout 40m $$($(GO) list ./... | grep -v -E '^netmend/(engine/cpu|onnx/ort|onnx/onnxgo|cuda|cmd)(/|$$)')

check: deps
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$unformatted" ]; then echo "not gofmt-ed: $$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	CGO_ENABLED=0 $(GO) build ./...

demo: build
	@scripts/demo.sh

# Training steps against PyTorch's, of every Python given: make bench PYTORCH="/path/to/python /usr/bin/python3"
bench: build
	@python3 scripts/bench.py $(foreach p,$(PYTORCH),--pytorch $(p)) $(BENCH)

# The images of the GPU kernels, which are part of the repository, from their sources.
kernels:
	@scripts/deps.sh nvrtc
	@python3 scripts/kernels.py

# The way to the driver by gorgonia.org/cu (build tag gorgonia, docs/gpu.md), against the emulator.
test-gorgonia: deps
	@scripts/deps.sh cuda-headers
	@scripts/test_gorgonia.sh

# The CUDA device on this machine's GPU; out/gpu-check can be copied to another machine and started there (docs/gpu.md).
gpu-check: deps
	@scripts/gpu_check.sh build
	@out/gpu-check/gpu_check.sh run

clean:
	rm -rf bin out
