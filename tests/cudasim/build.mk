# The CUDA simulator: kernels/cuda/*.cu by the host's C++ compiler, so that they run on the CPU. Its
# own tests are programs of the same make.

CUDASIM = $(BUILD)/cudasim
CUDASIM_PLUGIN = $(if $(CUDA_SOURCES),$(CUDASIM)/duq-cuda.so)
CUDASIM_OBJECTS = $(patsubst %,$(BUILD)/obj/%.o,$(wildcard tests/cudasim/*.cpp))
CUDASIM_KERNELS = $(CUDA_SOURCES:%=$(BUILD)/obj/%.o)
CUDASIM_TESTS = $(patsubst %,$(BUILD)/obj/%.o,$(wildcard tests/cudasim/selftest/*.cu))
# ThreadSanitizer's calls are the simulator's own (below), whatever the program is built with.
CUDASIM_OPTIMIZE = $(filter-out -fsanitize=thread,$(OPTIMIZE))
# Aliasing: kernels read vectors of one type as another. Reports name the line that is at fault.
CUDASIM_FLAGS = -std=c++17 -g -I. -Itests/cudasim/include $(CUDASIM_OPTIMIZE) -fPIC -fvisibility=hidden \
	-fno-strict-aliasing -fdebug-prefix-map=$(CURDIR)=. $(WARNINGS) -Wno-unknown-pragmas

# Each access to memory in device code calls a function of access.cpp (-fsanitize=thread, without its
# library), as does each pointer that is not a multiple of its type's alignment. AddressSanitizer,
# which cannot go with it, replaces it. A call that is not a jump tells where it comes from; a stack
# that is touched page by page, that it is too small.
CUDASIM_DEVICE_FLAGS = -fno-optimize-sibling-calls -fstack-clash-protection \
	$(if $(filter 1,$(SANITIZE)),,-fsanitize=thread --param=tsan-instrument-func-entry-exit=0 \
	-fsanitize=alignment -fno-sanitize-recover=alignment -fno-tree-vectorize)

.PHONY: cuda-check

tests-built: $(CUDASIM_PLUGIN) $(CUDASIM)/selftest $(CUDASIM)/attention-plan

# The tests of device code and of the simulator alone; with SANITIZE=1, under ASan and UBSan.
cuda-check: $(CUDASIM_PLUGIN) $(CUDASIM)/selftest $(filter $(BUILD)/tests/test_cuda_%,$(C_TESTS))
	BUILD='$(BUILD)' ./tests/run test_cuda cudasim

$(BUILD)/obj/tests/cudasim/%.cpp.o: tests/cudasim/%.cpp Makefile tests/cudasim/build.mk
	@mkdir -p $(@D)
	$(CXX) $(CUDASIM_FLAGS) -MMD -MP -c -o $@ $<

# Products are where its time goes.
$(BUILD)/obj/tests/cudasim/cublas.cpp.o: CUDASIM_FLAGS += $(if $(filter 1,$(SANITIZE)),,-O3)

$(BUILD)/obj/%.cu.o: %.cu Makefile tests/cudasim/build.mk
	@mkdir -p $(@D)
	$(CXX) -x c++ $(CUDASIM_FLAGS) $(CUDASIM_DEVICE_FLAGS) -MMD -MP -c -o $@ $<

$(CUDASIM)/duq-cuda.so: $(CUDASIM_KERNELS) $(CUDASIM_OBJECTS)
	@mkdir -p $(@D)
	$(CXX) -shared $(CUDASIM_OPTIMIZE) $(LDFLAGS) -Wl,-z,nodelete -o $@ $^ -ldl

$(CUDASIM)/selftest: $(CUDASIM_TESTS) $(CUDASIM_OBJECTS)
	@mkdir -p $(@D)
	$(CXX) $(CUDASIM_OPTIMIZE) $(LDFLAGS) -o $@ $^ -ldl

$(CUDASIM)/attention-plan: $(BUILD)/obj/tests/gpu/attention-plan.cu.o $(CUDASIM_KERNELS) \
		$(CUDASIM_OBJECTS) $(BUILD)/libduq.a
	@mkdir -p $(@D)
	$(CXX) $(OPTIMIZE) $(LDFLAGS) -o $@ $^ $(LIBS)
