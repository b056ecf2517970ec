# What depends on what in a run, for make; what is done is in stages.sh. Started in the run's folder by run.sh.
#
# Times alone would remake too much: a file written again with the same bytes, a setting changed and changed
# back. So no target depends on files themselves, but on stamps, which change when contents do:
#   .settings/KEY   the value of a setting, written by run.sh when it is another one (also: version, model,
#                   others, data, published: the programs, the model's digest, other sets, the given files' digests,
#                   the set's published figures)
#   .sums/FILE      the digest of a file of the run, written when it is another one
# and stage.sh leaves a target as it is (but for its time) whose stamps hold what they held when it was made.
#
# SKIP: stages before the first one asked for; their files are taken as they are.
# OTHERS: names of the data sets to be told from this one.
# SHAPING: the settings that shape results.

SHELL = /bin/bash
.SUFFIXES:
.PRECIOUS: .sums/%

stages = fetch split validation weights teacher softmax dirichlet baseline evaluation detection report
students = softmax dirichlet baseline
predictors = untrained teacher $(students)

.PHONY: $(stages) manifest
.DEFAULT_GOAL = report

# Said by itself: what was done.
$(stages):
	@:

sum = $(1:%=.sums/%)
set = $(1:%=.settings/%) .settings/version

.sums/%: %
	@mkdir -p $(@D); "$$PIPELINES"/stage.sh sum $@ $<
# Of a file of a stage that was left out, and that is not there:
.sums/%:
	@"$$PIPELINES"/stage.sh missing $*

# make STAGE, FUNCTION [ARGUMENT]: the recipe of a target.
run = @"$$PIPELINES"/stage.sh make '$1' '$@' '$^' $2

ifeq ($(filter fetch,$(SKIP)),)
fetch: data/files
data/files: $(call set,DATA SOURCE CHECKSUM TRAIN_FILES TEST_FILES data)
	$(call run,fetch,fetch)
endif

ifeq ($(filter split,$(SKIP)),)
split: texts/train.mp texts/shots.mp texts/validation.mp texts/test.mp
texts/rows.mp: $(call sum,data/files) \
	$(call set,HEADER ID TEXT LABEL LABELS SHUFFLE TRAIN SHOTS VALIDATION TEST)
	$(call run,split,rows train)
texts/test-rows.mp: $(call sum,data/files) $(call set,HEADER ID TEXT LABEL LABELS TEST)
	$(call run,split,rows test)
parts = train shots validation test
$(parts:%=texts/%.plan): texts/%.plan: $(call sum,texts/rows.mp texts/test-rows.mp) \
	$(call set,TRAIN SHOTS VALIDATION TEST N_TRAIN N_TEST)
	$(call run,split,plan $*)
$(parts:%=texts/%.mp): texts/%.mp: $(call sum,texts/%.plan texts/rows.mp texts/test-rows.mp)
	$(call run,split,part $*)
endif

task = .sums/task.json .settings/model .settings/DEVICE .settings/COMPUTE .settings/version
shots = $(call sum,texts/shots.mp)
student = $(call sum,weights.mp)

ifeq ($(filter validation,$(SKIP)),)
validation: scores/validation.mp
scores/validation.mp: $(call sum,texts/validation.mp) $(shots) $(task)
	$(call run,validation,teacher_scores texts/validation.mp)
endif

ifeq ($(filter weights,$(SKIP)),)
weights: weights.mp
weights.mp: $(call sum,scores/validation.mp) $(call set,OBJECTIVE ENTROPY_WEIGHT)
	$(call run,weights,weights)
endif

ifeq ($(filter teacher,$(SKIP)),)
teacher: teacher/train.mp teacher/test.mp
scores/train.mp scores/test.mp: scores/%.mp: $(call sum,texts/%.mp) $(shots) $(task)
	$(call run,teacher,teacher_scores texts/$*.mp)
teacher/train.mp teacher/test.mp: teacher/%.mp: $(call sum,scores/%.mp weights.mp) $(call set)
	$(call run,teacher,teacher scores/$*.mp)
endif

# The students' prompts are made by the first student.
ifeq ($(filter softmax,$(SKIP)),)
students/train.tokens.mp: $(call sum,texts/train.mp) $(student) $(task)
	$(call run,softmax,student_tokens texts/train.mp)
endif

training = $(call set,LR BATCH EPOCHS RANK LORA_ALPHA DROPOUT SEED TRAIN_OPTIONS DEVICE COMPUTE model)
define student_rules
ifeq ($$(filter $1,$$(SKIP)),)
$1: predictions/$1.test.mp
students/$1.lora/adapter_config.json: $$(call sum,students/train.tokens.mp $2) $$(training) .settings/$3
	$$(call run,$1,train $1)
predictions/$1.test.mp: $$(call sum,texts/test.mp students/$1.lora/adapter_config.json) $$(student) $$(task)
	$$(call run,$1,predict $1 texts/test.mp)
endif
endef
$(eval $(call student_rules,softmax,teacher/train.mp,SOFTMAX_OPTIONS))
$(eval $(call student_rules,dirichlet,teacher/train.mp,DIRICHLET_OPTIONS))
$(eval $(call student_rules,baseline,,BASELINE_OPTIONS))

tests = predictions/untrained.test.mp teacher/test.mp $(students:%=predictions/%.test.mp)

ifeq ($(filter evaluation,$(SKIP)),)
evaluation: evaluation/metrics.mp
predictions/untrained.test.mp: $(call sum,texts/test.mp) $(student) $(task)
	$(call run,evaluation,predict untrained texts/test.mp)
evaluation/metrics.mp: $(call sum,$(tests)) $(call set,BOOTSTRAP)
	$(call run,evaluation,evaluate)
endif

# Texts of other sets, by the same prompts; none of these rules applies where there are no others.
ood = $(foreach other,$(OTHERS),$(predictors:%=detection/%.$(other).mp))

# What only pattern rules would name, make takes for passing: it would not miss such a file, and remove it in the end.
named = $(foreach other,$(OTHERS),detection/texts.$(other).mp detection/scores.$(other).mp)
.PHONY: named
named: $(named) $(call sum,$(named))

ifeq ($(filter detection,$(SKIP)),)
detection: $(if $(OTHERS),detection/metrics.mp)
ifneq ($(strip $(OTHERS)),)
$(OTHERS:%=detection/texts.%.mp): detection/texts.%.mp: .sums/others/%/texts/test.mp .settings/version
	$(call run,detection,strip others/$*/texts/test.mp)
$(OTHERS:%=detection/scores.%.mp): detection/scores.%.mp: .sums/detection/texts.%.mp $(shots) $(task)
	$(call run,detection,teacher_scores detection/texts.$*.mp)
$(OTHERS:%=detection/teacher.%.mp): detection/teacher.%.mp: .sums/detection/scores.%.mp $(call sum,weights.mp) $(call set)
	$(call run,detection,teacher detection/scores.$*.mp)
$(OTHERS:%=detection/untrained.%.mp): detection/untrained.%.mp: .sums/detection/texts.%.mp $(student) $(task)
	$(call run,detection,predict untrained detection/texts.$*.mp)
define detection_rules
$(OTHERS:%=detection/$1.%.mp): detection/$1.%.mp: .sums/detection/texts.%.mp \
	.sums/students/$1.lora/adapter_config.json $$(student) $$(task)
	$$(call run,detection,predict $1 detection/texts.$$*.mp)
endef
$(foreach name,$(students),$(eval $(call detection_rules,$(name))))
detection/metrics.mp: $(call sum,$(tests) $(ood)) $(call set,BOOTSTRAP others)
	$(call run,detection,evaluate)
endif
endif

ifeq ($(filter report,$(SKIP)),)
report: report/index.html
report/index.html: $(call sum,$(tests) $(ood) weights.mp $(parts:%=texts/%.plan) data/files task.json) \
	$(call sum,$(students:%=students/%.lora/adapter_config.json)) \
	$(call set,$(SHAPING) others model published)
	$(call run,report,report)
endif

# What is cut into shards under --cut.
cut-validation: scores/validation.mp
cut-teacher: scores/train.mp scores/test.mp
cut-detection: $(OTHERS:%=detection/scores.%.mp)
cut-validation cut-teacher cut-detection: ; @:
.PHONY: cut-validation cut-teacher cut-detection

manifest:
	@"$$PIPELINES"/stage.sh manifest
