# The MPI plugin, by MPI's own compiler driver. Where there is none, all but this is built.

MPICC ?= mpicc
HAVE_MPICC := $(shell command -v $(MPICC))
MPI_PLUGIN = $(BUILD)/lib/duq/duq-mpi.so

.PHONY: mpi install-mpi

ifneq ($(HAVE_MPICC),)

all: mpi

mpi: $(MPI_PLUGIN)

$(MPI_PLUGIN): common/train/mpi/plugin.c common/train/ranks.h common/train/mpi/build.mk
	@mkdir -p $(@D)
	$(MPICC) $(ALL_CFLAGS) -fPIC -shared -o $@ $<

install-mpi: $(MPI_PLUGIN) install-folders
	install -d $(DESTDIR)$(PREFIX)/lib/duq
	install $(MPI_PLUGIN) $(DESTDIR)$(PREFIX)/lib/duq

else

all: no-mpi

.PHONY: no-mpi
no-mpi mpi:
	@echo 'MPI is left out: $(MPICC) is not on the PATH'

install-mpi:

endif
