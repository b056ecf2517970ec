#!/usr/bin/env bash
# Amazon reviews: is a review positive or negative? From the texts to a report.
# usage: pipelines/amazon.sh [OPTION]... [KEY=VALUE]...    see --help
# What the stages do is in recipes.sh; the reviews' own settings, task and published figures are in amazon/.
# shellcheck source=pipelines/run.sh
source "$(dirname "${BASH_SOURCE[0]}")/run.sh"

stage fetch      # train.csv and test.csv of the polarity archive, or the like from DATA=
stage split      # train.csv: to train on, for shots, for validation. test.csv: to test on
stage validation # the teacher, nine prompts with shots of their own each, scores the validation texts
stage weights    # how far each of the nine is to be trusted, by those scores
stage teacher    # the teacher says what it thinks of the texts to train and to test on: the long part
stage softmax    # a student learns the class probabilities of the teacher: one prompt, no shots
stage dirichlet  # a student learns how sure the teacher is, too: a Dirichlet distribution of them
stage baseline   # a student learns the labels alone, to compare with
stage edl        # a student learns a Dirichlet distribution of the labels alone, to compare with the teacher's
stage evaluation # how right and how well calibrated all of them are, and the model as it is
stage epochs     # with KEEP=all: each student after each epoch, on the texts to train and to test on
stage seeds      # with SEEDS=3: each student as two more seeds make it; mean and deviation of all three
stage sweep      # with SWEEP=yes: Dirichlet students of several fixed sums of alphas, of several seeds each
stage detection  # SST-2, YouTube and Yahoo, or what OOD= names: does uncertainty give their texts away?
stage report     # tables, figures and a page, with the published figures beside them

run_recipe amazon "$@"
