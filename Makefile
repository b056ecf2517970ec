# duq: two commands do it all, `make demo` and `make test`; `make help` lists the rest.
#
# Everything is built out of tree in $(BUILD). Sources are found by folder: each cmd/NAME.c is a
# program, with what is in cmd/NAME/, each cmd/NAME.sh one that runs others; everything under common/,
# kernels/cpu/ and kernels/count/ is the library they share, each tests/c/test_NAME.c is a cmocka test,
# each tests/bats/NAME.bats a program test and each folder in pipelines/ with a task.json a data set.

VERSION = 0.2.0
PREFIX ?= /usr/local
SANITIZE ?=
PYTHON ?= python3
# 1: a warning is an error. For who works on duq, and .ci/run: a newer compiler's warnings are no user's trouble.
WERROR ?=

ifeq ($(SANITIZE),1)
BUILD ?= build/sanitize
OPTIMIZE = -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
else ifeq ($(SANITIZE),thread)
BUILD ?= build/tsan
OPTIMIZE = -O1 -fsanitize=thread
else ifeq ($(SANITIZE),fuzz)
BUILD ?= build/fuzz
CC = clang
OPTIMIZE = -O1 -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=undefined -fno-omit-frame-pointer
else
BUILD ?= build
OPTIMIZE = -O2
endif

comma = ,
CC ?= cc
MODULES = msgpack libzstd libxxhash jansson libpcre2-8 libutf8proc
# Distributions name msgpack-c's module msgpack or msgpack-c.
MODULES := $(if $(shell pkg-config --exists msgpack || echo no),$(MODULES:msgpack=msgpack-c),$(MODULES))
CFLAGS ?= -g
WARNINGS = -Wall -Wextra $(if $(filter 1,$(WERROR)),-Werror)
ALL_CFLAGS = -std=c11 -D_GNU_SOURCE -DDUQ_VERSION='"$(VERSION)"' -I. $(OPTIMIZE) -pthread \
	$(WARNINGS) $(shell pkg-config --cflags $(MODULES)) $(CFLAGS)
LIBS = $(shell pkg-config --libs $(MODULES)) -lcsv -ldl -lm

PROGRAMS = $(patsubst cmd/%.c,%,$(wildcard cmd/*.c))
SCRIPTS = $(patsubst cmd/%.sh,%,$(wildcard cmd/*.sh))
COMPLETIONS = $(foreach program,$(PROGRAMS) $(SCRIPTS),$(BUILD)/completion/bash/$(program) $(BUILD)/completion/zsh/_$(program))
LIB_SOURCES = $(wildcard common/*/*.c kernels/cpu/*.c kernels/count/*.c)
LIB_OBJECTS = $(LIB_SOURCES:%.c=$(BUILD)/obj/%.o) $(BUILD)/obj/schemas.o
SCHEMAS = $(wildcard schemas/*.json)
C_TESTS = $(patsubst tests/c/%.c,$(BUILD)/tests/%,$(wildcard tests/c/test_*.c))
SHELL_FILES = $(wildcard .ci/run cmd/*.sh tests/run tests/deps tests/fresh tests/fuzz/run tests/fuzz/keep tests/fuzz/*.bash tests/includes tests/bats/*.bash \
	tests/oracle/*.sh tests/bench/*.sh tests/gpu/*.sh tests/faults/*.sh \
	pipelines/*.sh pipelines/*/*.sh pipelines/slurm/*.sbatch examples/*.sh)
DATA_SETS = $(patsubst pipelines/%/task.json,%,$(wildcard pipelines/*/task.json))

.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: all deps deps-lint deps-test deps-fuzz demo $(DATA_SETS) test check tests-built faults bench gpu-plan gpu-check check-oracle fuzz fuzz-targets lint format install install-folders uninstall bundle gpu-bundle clean help

all: $(PROGRAMS:%=$(BUILD)/bin/%) $(SCRIPTS:%=$(BUILD)/bin/%) $(COMPLETIONS)

include kernels/cuda/build.mk
include common/train/mpi/build.mk
include tests/cudasim/build.mk

$(BUILD)/obj/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# The schemas as C arrays, so that the programs carry them.
$(BUILD)/obj/schemas.c: $(SCHEMAS) Makefile
	@mkdir -p $(@D)
	{ echo '#include "common/stream/schema.h"'; \
	  echo 'const struct schema_text schema_texts[] = {'; \
	  for file in $(SCHEMAS); do \
	    printf '{"%s", (const char[]){' "$$(basename $$file .json)"; \
	    od -An -v -tx1 $$file | sed 's/\([0-9a-f][0-9a-f]\)/0x\1,/g'; \
	    echo '0}},'; \
	  done; \
	  echo '{0, 0}};'; } >$@

$(BUILD)/obj/schemas.o: $(BUILD)/obj/schemas.c
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/libduq.a: $(LIB_OBJECTS)
	@rm -f $@
	ar rcs $@ $^

# -rdynamic: a device in a shared object uses the messages and memory of the program that opens it. Its folder is also
# where a bundle's libraries are, which come before any other of their names.
RPATH = -Wl,--disable-new-dtags,-rpath,'$$ORIGIN/../lib/duq'
$(BUILD)/bin/%: $(BUILD)/obj/cmd/%.o $(BUILD)/libduq.a
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -rdynamic $(RPATH) $(LDFLAGS) -o $@ $(filter %.o,$^) $(BUILD)/libduq.a $(LIBS)

$(BUILD)/bin/%: cmd/%.sh Makefile
	@mkdir -p $(@D)
	sed 's/@VERSION@/$(VERSION)/' $< >$@
	chmod +x $@

# Completion, of the programs' own tables of options.
$(BUILD)/completion/bash/%: $(BUILD)/bin/% cmd/completion.awk
	@mkdir -p $(@D)
	$< --list-options | awk -v program=$* -v shell=bash -f cmd/completion.awk >$@

$(BUILD)/completion/zsh/_%: $(BUILD)/bin/% cmd/completion.awk
	@mkdir -p $(@D)
	$< --list-options | awk -v program=$* -v shell=zsh -f cmd/completion.awk >$@

# The parts of a program that has several.
$(foreach program,$(PROGRAMS),$(eval $(BUILD)/bin/$(program): \
	$(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard cmd/$(program)/*.c))))

$(BUILD)/tests/%: $(BUILD)/obj/tests/c/%.o $(BUILD)/libduq.a
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -rdynamic $(LDFLAGS) -o $@ $^ -lcmocka $(LIBS)

$(BUILD)/bench/%: tests/bench/%.c $(BUILD)/libduq.a
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -Wno-psabi -rdynamic $(LDFLAGS) -o $@ $^ $(LIBS)

# tests/fuzz/harness.c takes these calls.
FUZZ_WRAPPED = exit fopen fclose mmap munmap apart_read
FUZZ_TARGETS = $(patsubst tests/fuzz/fuzz_%.c,$(BUILD)/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
$(BUILD)/fuzz/%: $(BUILD)/obj/tests/fuzz/fuzz_%.o $(BUILD)/obj/tests/fuzz/harness.o $(BUILD)/libduq.a
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -fsanitize=fuzzer -rdynamic $(LDFLAGS) $(FUZZ_WRAPPED:%=-Wl,--wrap=%) -o $@ $^ $(LIBS)

# How many seconds each target runs; 0: their corpora alone.
SECONDS ?= 60
fuzz: deps-fuzz
	@$(MAKE) --no-print-directory SANITIZE=fuzz fuzz-targets
	@tests/fuzz/run '$(SECONDS)'

fuzz-targets: $(FUZZ_TARGETS)

# libFuzzer is not told of every comparison in what is no reader: the harness, and sums over a grid. Most of an input's
# time would go there.
$(BUILD)/obj/tests/fuzz/harness.o: ALL_CFLAGS += -fno-sanitize=fuzzer-no-link
ifeq ($(SANITIZE),fuzz)
$(BUILD)/obj/common/eval/smooth_calibration.o: ALL_CFLAGS += -fno-sanitize=fuzzer-no-link
endif

$(BUILD)/oracle/%: tests/oracle/%.c $(BUILD)/libduq.a
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -rdynamic $(LDFLAGS) -o $@ $^ $(LIBS)

# Kernels: vector code from plain loops. Files path_NAME.c are for one kind of processor each.
# -ffp-contract=off: what is rounded when is written in them, not left to the compiler.
# -fno-strict-aliasing: a word of a panel is a float, or two of bf16.
$(BUILD)/obj/kernels/cpu/%.o: ALL_CFLAGS += $(if $(filter 1 fuzz,$(SANITIZE)),,-O3) -ffp-contract=off -fno-strict-aliasing \
	-fno-math-errno -fno-trapping-math -Wno-psabi
# Their loops take the compiler minutes under these, and read no files.
$(BUILD)/obj/kernels/cpu/path_%.o: ALL_CFLAGS += $(if $(filter fuzz,$(SANITIZE)),-fno-sanitize=undefined$(comma)fuzzer-no-link)
ifeq ($(findstring x86_64,$(shell $(CC) -dumpmachine)),x86_64)
AVX512 = -march=x86-64-v4 -mprefer-vector-width=512
$(BUILD)/obj/kernels/cpu/path_avx2.o: ALL_CFLAGS += -march=x86-64-v3
$(BUILD)/obj/kernels/cpu/path_avx512.o: ALL_CFLAGS += $(AVX512)
$(BUILD)/obj/kernels/cpu/path_avx512bf16.o: ALL_CFLAGS += $(AVX512) -mavx512bf16
$(BUILD)/obj/kernels/cpu/path_amx.o: ALL_CFLAGS += $(AVX512) -mamx-tile -mamx-bf16
endif

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)

deps:
	@./tests/deps

deps-lint deps-test deps-fuzz:
	@./tests/deps $(@:deps-%=%)

# As many jobs as there are processors, where the command line does not say.
AT_ONCE = $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$$(nproc))

# make again, for what deps installed changes the flags that this run has already worked out.
test: deps-test
	@$(MAKE) --no-print-directory $(AT_ONCE) all tests-built
	@$(MAKE) --no-print-directory check

demo: deps
	@$(MAKE) --no-print-directory $(AT_ONCE) all
	@BUILD='$(BUILD)' ./examples/demo.sh

# Any setting of pipelines/settings may be given: make sst2 MODEL=... DATA=... N_TRAIN=200. What is on the
# command line and not of the build goes to the pipeline, which refuses what it does not know.
OF_BUILD = AR BUILD CC CFLAGS CXX DESTDIR LDFLAGS MODULES MPICC NVCC OPTIMIZE PREFIX PYTHON SANITIZE SHELL VERSION WERROR
SETTINGS = $(sort $(foreach key,$(filter-out $(OF_BUILD),$(.VARIABLES)),$(if $(filter command,$(origin $(key))),$(key))))
# A goal with a slash that is a folder is a data set from elsewhere.
DATA_FOLDERS = $(foreach goal,$(MAKECMDGOALS),$(if $(findstring /,$(goal)),$(if $(wildcard $(goal)/.),$(goal))))
.PHONY: $(DATA_FOLDERS)
$(DATA_SETS) $(DATA_FOLDERS): deps
	@$(MAKE) --no-print-directory $(AT_ONCE) all
	@BUILD='$(BUILD)' $(or $(wildcard pipelines/$@.sh),pipelines/run.sh $@) $(foreach key,$(SETTINGS),'$(subst ','\'',$(key)=$(value $(key)))')

check: all tests-built
	BUILD='$(BUILD)' ./tests/run

# All that tests/run needs. Sanitizers' libraries are of the compiler that is there.
tests-built: $(C_TESTS) $(BUILD)/faults/shim.so $(if $(SANITIZE),,bundle)

# What fails calls of the programs; without sanitizers, which have calls of their own.
$(BUILD)/faults/shim.so: tests/faults/shim.c Makefile
	@mkdir -p $(@D)
	$(CC) -std=c11 -D_GNU_SOURCE -O2 $(WARNINGS) -fPIC -shared -o $@ $< -ldl -pthread

# Each call that each program makes fails once; programs of pipelines are killed. The whole takes an hour.
faults: all $(BUILD)/faults/shim.so
	BUILD='$(BUILD)' tests/faults/run.sh
	BUILD='$(BUILD)' tests/faults/kills.sh

# Every comparison runs, whatever became of the one before.
bench: all
	@failed=; for script in tests/bench/*.sh; do \
	    echo "== $$script"; \
	    BUILD='$(BUILD)' PYTHON='$(PYTHON)' $$script || failed="$$failed $$script"; \
	done; [ -z "$$failed" ] || { echo "FAILED:$$failed"; exit 1; }

# The tables of man/duq-gpu.7.
gpu-plan: all $(BUILD)/cudasim/attention-plan
	@for stage in score train student; do \
	    echo "$$stage"; BUILD='$(BUILD)' tests/gpu/plan.sh $$stage || exit 1; \
	done
	@for stage in score student forward backward; do \
	    echo "attention, $$stage"; $(BUILD)/cudasim/attention-plan $$stage || exit 1; \
	done

# On a machine with a GPU; elsewhere it says so (status 69).
gpu-check: all $(filter $(BUILD)/tests/test_cuda_%,$(C_TESTS))
	@BUILD='$(BUILD)' tests/gpu/check.sh

check-oracle: all
	@failed=; for script in tests/oracle/check-*.sh; do \
	    echo "== $$script"; \
	    BUILD='$(BUILD)' PYTHON='$(PYTHON)' $$script || failed="$$failed $$script"; \
	done; [ -z "$$failed" ] || { echo "FAILED:$$failed"; exit 1; }

# clang-format settles layout, in the version that Debian 12 has (others differ in places); the rest
# find what the compiler does not.
lint: deps-lint
	@case $$(clang-format --version) in \
	*'version 14.'*) set -x; clang-format --dry-run -Werror $(shell git ls-files '*.[ch]' '*.cu' '*.cpp') ;; \
	*) echo 'lint: clang-format is not version 14: layout is not checked' ;; \
	esac
	cppcheck --quiet --std=c11 --library=.cppcheck.cfg --error-exitcode=1 --inline-suppr -j 2 -I. \
		--enable=warning,performance,portability --suppress=missingIncludeSystem \
		--suppress=nullPointerRedundantCheck --suppress=nullPointerArithmeticRedundantCheck \
		-DDUQ_VERSION='""' $(shell git ls-files '*.c')
	$(if $(wildcard $(SHELL_FILES)),shellcheck $(wildcard $(SHELL_FILES)))
	shellcheck --include=SC2314,SC2315 tests/bats/*.bats # a "!" that cannot fail
	tests/includes
	$(if $(wildcard man/*),mandoc -T lint -W warning man/*)

format:
	clang-format -i $(shell git ls-files -co --exclude-standard '*.[ch]' '*.cu' '*.cpp')

# A folder's name with a blank is two names to make, and one that ends in a blank would have uninstall look in /.
ifneq ($(filter install% uninstall,$(MAKECMDGOALS)),)
$(if $(word 2,x$(DESTDIR)$(PREFIX)x),$(error PREFIX and DESTDIR may have no blanks in them))
endif
COMPLETION_FOLDERS = bash-completion/completions zsh/site-functions
install-folders:
	@install -d $(DESTDIR)$(PREFIX)/bin $(addprefix $(DESTDIR)$(PREFIX)/share/,man/man1 man/man5 man/man7 $(COMPLETION_FOLDERS)) && \
	[ -w $(DESTDIR)$(PREFIX)/bin ] || { echo >&2 \
		'install: may not write to $(DESTDIR)$(PREFIX). Without root: make install PREFIX=$$HOME/.local'; exit 1; }

install: all install-folders install-cuda install-mpi
	install $(PROGRAMS:%=$(BUILD)/bin/%) $(SCRIPTS:%=$(BUILD)/bin/%) $(DESTDIR)$(PREFIX)/bin
	install -m 644 $(filter $(BUILD)/completion/bash/%,$(COMPLETIONS)) $(DESTDIR)$(PREFIX)/share/bash-completion/completions
	install -m 644 $(filter $(BUILD)/completion/zsh/%,$(COMPLETIONS)) $(DESTDIR)$(PREFIX)/share/zsh/site-functions
	for page in man/*; do \
		install -m 644 $$page $(DESTDIR)$(PREFIX)/share/man/man$${page##*.}/ || exit 1; done

uninstall:
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/bin/,$(PROGRAMS) $(SCRIPTS)) $(addprefix $(DESTDIR)$(PREFIX)/lib/duq/,duq-cuda.so duq-mpi.so) \
		$(PROGRAMS:%=$(DESTDIR)$(PREFIX)/share/bash-completion/completions/%) $(SCRIPTS:%=$(DESTDIR)$(PREFIX)/share/bash-completion/completions/%) \
		$(PROGRAMS:%=$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_%) $(SCRIPTS:%=$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_%)
	for page in man/*; do \
		rm -f $(DESTDIR)$(PREFIX)/share/man/man$${page##*.}/$${page##*/}; done

# One folder that runs from any place: programs, plugins, the libraries that they need with their licences, and what the
# demo and the pipelines read; scripts look for programs in build/bin. Not in it, for they are the machine's: glibc; for
# the MPI plugin, MPI; for the CUDA plugin, libstdc++, the driver and cuBLAS.
BUNDLE = duq-$(VERSION)-$(shell uname -m)
BUNDLED = $(BUILD)/bundle/$(BUNDLE)
BUNDLED_PROGRAMS = $(PROGRAMS:%=$(BUNDLED)/bin/%)
BUNDLED_LIBRARIES = ldd $(BUNDLED_PROGRAMS) | sed -n 's/.* => \(.*\) (.*/\1/p' | grep -Ev '/lib(c|m)\.so' | sort -u
bundle: $(BUILD)/$(BUNDLE).tar.zst
$(BUILD)/$(BUNDLE).tar.zst: $(PROGRAMS:%=$(BUILD)/bin/%) $(SCRIPTS:%=$(BUILD)/bin/%) $(COMPLETIONS) $(if $(HAVE_NVCC),$(CUDA_PLUGIN)) $(if $(HAVE_MPICC),$(MPI_PLUGIN)) \
		README.md $(shell find man examples pipelines -type f) Makefile
	@rm -rf $(BUILD)/bundle
	@$(MAKE) --no-print-directory --silent install DESTDIR=$(BUNDLED) PREFIX=
	@cp -R README.md examples pipelines $(BUNDLED)
	@ln -s . $(BUNDLED)/build
	@mkdir -p $(BUNDLED)/lib/duq
	@$(BUNDLED_LIBRARIES) | while read -r library; do cp -L $$library $(BUNDLED)/lib/duq || exit 1; \
		package=$$(dpkg-query -S "*/$${library##*/}" | sed -n '1s/:.*//p'); \
		cp -L /usr/share/doc/$$package/copyright $(BUNDLED)/lib/duq/$${library##*/}.licence || exit 1; \
	done
	@strip $(BUNDLED_PROGRAMS) $(BUNDLED)/lib/duq/*.so*[!e]
	@tar -C $(BUILD)/bundle --mode=u=rwX,go=rX --sort=name --owner=0 --group=0 -c $(BUNDLE) | zstd -q -f -19 -o $@
	@echo "$@: $$(($$(stat -c %s $@) / 1000)) kB, for glibc $$(objdump -T \
		$(BUNDLED_PROGRAMS) $(BUNDLED)/lib/duq/*.so*[!e] | grep -o 'GLIBC_[0-9.]*' | sort -V | tail -n 1 | cut -d_ -f2) and later"

# What tests/gpu/session.sh needs on a machine with a GPU and none of our libraries.
gpu-bundle: bundle $(filter $(BUILD)/tests/test_cuda_%,$(C_TESTS))
	@rm -rf $(BUILD)/gpu-bundle
	@cp -R $(BUNDLED) $(BUILD)/gpu-bundle
	@mkdir $(BUILD)/gpu-bundle/tests
	@cp $(filter $(BUILD)/tests/test_cuda_%,$^) $(BUILD)/gpu-bundle/tests
	@strip $(BUILD)/gpu-bundle/tests/*
	@cp -L $$(ldd $(BUILD)/gpu-bundle/tests/* | sed -n 's/.* => \(.*\) (.*/\1/p' | grep -Ev '/lib(c|m)\.so' | sort -u) \
		$(BUILD)/gpu-bundle/lib/duq
	@echo "$(BUILD)/gpu-bundle: $$(du -sm $(BUILD)/gpu-bundle | cut -f1) MB; there: tests/gpu/session.sh 1 FOLDER"

clean:
	rm -rf build

help:
	@echo 'make            build the programs into $(BUILD)/bin'
	@echo 'make demo       run the main job on the embedded model and texts'
	@echo 'make NAME       the whole job on a data set ($(DATA_SETS)), or'
	@echo '                on one in a folder, FOLDER/NAME: MODEL=DIR [DATA=DIR ...]'
	@echo 'make test       build and run every test'
	@echo 'make deps       install what the build needs (apt), or say what to install'
	@echo 'make faults     every call that fails, and programs that are killed: right results or errors'
	@echo 'make bench      speed, as ratios against a peer and as a share of the peak'
	@echo 'make cuda       the CUDA plugin, where nvcc is (make builds it there, too)'
	@echo 'make cuda-report  registers, shared memory and spills of each CUDA kernel'
	@echo 'make mpi        the MPI plugin, where mpicc is (make builds it there, too)'
	@echo 'make cuda-check run the tests of device code alone, in the simulator'
	@echo 'make gpu-plan   the tables of duq-gpu(7)'
	@echo 'make gpu-check  where there is a GPU: compare with the processor, time, report'
	@echo 'make fuzz       bad input for every reader of files, SECONDS=60 for each (clang)'
	@echo 'make check-oracle   compare live with PyTorch, tokenizers, scikit-learn ...'
	@echo 'make lint       formatting and static checks'
	@echo 'make install    to PREFIX (/usr/local) under DESTDIR;  make uninstall'
	@echo 'make bundle     all that runs, with its libraries, as one archive for machines without root or compiler'
	@echo 'make gpu-bundle the same with the tests of device code, for tests/gpu/session.sh on a machine with a GPU'
	@echo 'SANITIZE=1      any of these under ASan and UBSan, in build/sanitize'
	@echo 'SANITIZE=thread  under ThreadSanitizer, in build/tsan'
	@echo 'WERROR=1        any of these; a warning of a compiler is an error'
