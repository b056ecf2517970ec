# What stands under the tables of text: what was asked in detection, the published figures, where there are any.
include "numbers";
def pad(n): tostring | . + " " * ([n - length, 0] | max);
def ln: if . == 1 then 0 else log end | digits(3);
def said(n): if . == null then "-" else digits(n) end;
def cell(n): said(n) | " " * ([9 - length, 0] | max) + .;
(if .students != [] then
    "", "students: the epoch that each is of, and its figures on \(.held_out) validation texts; loss: of what it learns",
    "student     epoch     loss      nll accuracy      ece",
    (.students[] | (.name | pad(12)) + (.epoch | digits(1) | pad(5)) + ([.validation | .loss, .nll, .accuracy, .ece | cell(4)] | join("")))
 else empty end),
(if .epochs != [] then
    "", "epoch by epoch, without dropout: on the texts to train on, then on those to test on; an epoch chosen by the latter",
    "has better figures there than elsewhere (*: the highest macro_f1 of them)",
    "student     epoch     loss accuracy macro_f1      ece      nll    brier accuracy macro_f1      ece      nll    brier   alpha0 regulariser",
    (.epochs | group_by(.student)[] | first(sort_by(-(.test.macro_f1 // 0), .epoch)[]).epoch as $best | .[]
        | (.student | pad(12)) + (.epoch | pad(4)) + (if .epoch == $best then "*" else " " end)
        + (.loss | cell(4)) + ([.train, .test | .accuracy, .macro_f1, .ece, .nll, .brier | cell(4)] | join(""))
        + (.alpha0 | cell(2)) + (.regulariser | cell(3)))
 else empty end),
(if .seeds != [] then
    "", "students of \(.seeds[0].accuracy.seeds // 1) seeds: mean, and standard deviation",
    "student         accuracy          macro_f1              ece              nll",
    (.seeds[] | (.name | pad(8)) + ([.accuracy, .macro_f1, .ece, .nll | (.mean | cell(4)) + (.deviation | cell(4))] | join("")))
 else empty end),
(if .sweep != [] then
    "", "Dirichlet students of fixed sums of alphas: mean over seeds, and standard deviation",
    "alpha0        macro_f1              ece              nll",
    (.sweep[] | (.alpha0 | pad(8)) + ([.macro_f1, .ece, .nll | (.mean | cell(4)) + (.deviation | cell(4))] | join("")))
 else empty end),
(. as $r | (.task.classes | length) as $here
| (.others[] | . as $other | (.classes | length) as $there
    | (if any($r.metrics.detection[]?; .against == $other.name) then
        "", "against \(.name): asked by this set's prompts; \($here) classes, total uncertainty at most ln \($here) = \($here | ln)"
      else empty end),
      (if .own then
        "", "against \(.name):own: asked by its own prompts; \($there) classes, total uncertainty at most ln \($there) = \($there | ln);",
        "this set's texts: \($here) classes, ln \($here) = \($here | ln)"
      else empty end))),
(if .published.sets then
    "", "published\(if .published.model then ", with " + .published.model else "" end) (not measured here)",
    (if .changed != [] then "this run is not as published: \(.changed | departures)" else empty end),
    ("set" | pad(12)) + "macro_f1     ece",
    (.published.sets | to_entries[]
        | (.key | pad(12)) + "   " + (.value.macro_f1 | said(3)) + "   " + (.value.ece | said(3)) + "  " + (.value.from // "")),
    (.published.notes // [] | .[])
 else empty end),
(if .published.detection then
    "", "published, detection by \(.published.detection.uncertainty // "total") uncertainty, sets asked by \(if .published.detection.protocol == "own" then "their own prompts" else "this set's prompts" end)",
    (.published.detection.from // empty),
    ("against" | pad(12)) + ("set" | pad(12)) + "auroc  wasserstein",
    (.published.detection.against | to_entries[] | .key as $against | .value | to_entries[]
        | ($against | pad(12)) + (.key | pad(12)) + " " + (.value.auroc | said(2)) + "         " + (.value.wasserstein | said(2)))
 else empty end),
(if .published.elsewhere then "", "published figures: in the report of PROFILE=\(.published.elsewhere), which follows their steps" else empty end),
(.missing[] | "", "no detection against \(.): its texts could not be had")
