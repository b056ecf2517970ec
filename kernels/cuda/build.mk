# The CUDA plugin: kernels/cuda/*.cu by nvcc, for A100 (sm_80) and H100 (sm_90), and as PTX for what
# came later. Where there is no nvcc, all but this is built.

NVCC ?= nvcc
HAVE_NVCC := $(shell command -v $(NVCC))
CUDA_SOURCES = $(wildcard kernels/cuda/*.cu)
CUDA_OBJECTS = $(CUDA_SOURCES:%.cu=$(BUILD)/obj/nvcc/%.o)
CUDA_PLUGIN = $(BUILD)/lib/duq/duq-cuda.so
# Visibility: the plugin shows plugin.h's functions alone.
NVCC_FLAGS = -std=c++17 -O3 -I. $(if $(filter 1,$(WERROR)),-Werror all-warnings) -Xcompiler -Wall,-Wextra,-fPIC,-fvisibility=hidden \
	-Xptxas -v -gencode arch=compute_80,code=sm_80 -gencode arch=compute_90,code=sm_90 \
	-gencode arch=compute_90,code=compute_90

.PHONY: cuda cuda-report install-cuda

ifneq ($(HAVE_NVCC),)

all: cuda

cuda: $(CUDA_PLUGIN)

$(BUILD)/obj/nvcc/%.o: %.cu Makefile kernels/cuda/build.mk
	@mkdir -p $(@D)
	$(NVCC) $(NVCC_FLAGS) -MMD -MP -MF $(@:.o=.d) -c -o $@ $< 2>$(@:.o=.ptxas) || \
		{ cat $(@:.o=.ptxas); exit 1; }

$(CUDA_PLUGIN): $(CUDA_OBJECTS)
	@mkdir -p $(@D)
	$(NVCC) -shared -o $@ $^ -lcublas -Xlinker -rpath,$(dir $(HAVE_NVCC))../lib64

# What ptxas said of each kernel.
cuda-report: cuda
	@tests/gpu/kernels.sh $(CUDA_OBJECTS:.o=.ptxas)

install-cuda: $(CUDA_PLUGIN) install-folders
	install -d $(DESTDIR)$(PREFIX)/lib/duq
	install $(CUDA_PLUGIN) $(DESTDIR)$(PREFIX)/lib/duq

else

all: no-cuda

.PHONY: no-cuda
no-cuda cuda cuda-report:
	@echo 'CUDA is left out: $(NVCC) is not on the PATH'

install-cuda:

endif
