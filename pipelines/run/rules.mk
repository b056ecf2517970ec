# The rules for make that hold for every stage. Those of the stages' own files are made of recipes.sh, by rules.sh, and
# come after these. run.sh starts make with both, in the run's folder.
#
# Times alone would remake too much: a file written again with the same bytes, a setting changed and changed
# back. So no target depends on files themselves, but on stamps, which change when contents do:
#   .settings/KEY   the value of a setting, written by run.sh when it is another one (also: version, page, model,
#                   others, data, published: the programs, those of the report, the model's digest, other sets, the
#                   given files' digests, the set's published figures)
#   .sums/FILE      the digest of a file of the run, written when it is another one
# and target.sh leaves a target as it is (but for its time) whose stamps hold what they held when it was made.

SHELL = /bin/bash
.SUFFIXES:
.PRECIOUS: .sums/%
.PHONY: manifest

.sums/%: %
	@mkdir -p $(@D); "$$PIPELINES"/run/target.sh sum $@ $<
# Of a file of a stage that was left out, and that is not there:
.sums/%:
	@"$$PIPELINES"/run/target.sh missing $*

manifest:
	@"$$PIPELINES"/run/target.sh manifest
