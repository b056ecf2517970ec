# Several processes under Open MPI's mpirun, on this host alone.

# More processes than processors, as root too; loopback and shared memory alone. Open MPI 5 starts processes by PRRTE,
# which has variables of its own, and passes over the old ones.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_mpi_yield_when_idle=1
export OMPI_MCA_plm=isolated OMPI_MCA_oob_tcp_if_include=lo OMPI_MCA_btl=self,vader
export OMPI_MCA_btl_vader_single_copy_mechanism=none
export PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe PRTE_MCA_hwloc_default_binding_policy=none
# MPI keeps what it allocates; of no interest to the leak checker.
export ASAN_OPTIONS=detect_leaks=0

mpi_reason() { # why there can be none, or nothing
    command -v mpirun >/dev/null || { echo "mpirun is not installed (tests/deps test)"; return; }
    [ -e "${BUILD:?}/lib/duq/duq-mpi.so" ] || echo "the MPI plugin was not built: there is no mpicc"
}

together() { # RANKS COMMAND...    bounded, so that a hang is a failure
    timeout 120 mpirun -n "$@"
}
