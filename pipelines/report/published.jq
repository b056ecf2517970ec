# What stands under the tables of text: what was asked in detection, the published figures, where there are any.
include "numbers";
def pad(n): tostring | . + " " * ([n - length, 0] | max);
def ln: if . == 1 then 0 else log end | digits(3);
. as $r | (.task.classes | length) as $here
| (.others[] | . as $other | (.classes | length) as $there
    | (if any($r.metrics.detection[]?; .against == $other.name) then
        "", "against \(.name): asked by this set's prompts; \($here) classes, total uncertainty at most ln \($here) = \($here | ln)"
      else empty end),
      (if .own then
        "", "against \(.name):own: asked by its own prompts; \($there) classes, total uncertainty at most ln \($there) = \($there | ln);",
        "this set's texts: \($here) classes, ln \($here) = \($here | ln)"
      else empty end)),
(if .published.sets then
    "", "published\(if .published.model then ", with " + .published.model else "" end) (not measured here)",
    ("set" | pad(12)) + "macro_f1     ece",
    (.published.sets | to_entries[]
        | (.key | pad(12)) + "   " + (.value.macro_f1 | digits(3)) + "   " + (.value.ece | digits(3)) + "  " + (.value.from // "")),
    (.published.notes // [] | .[])
 else empty end),
(if .published.detection then
    "", "published, detection by \(.published.detection.uncertainty) uncertainty, sets asked by \(if .published.detection.protocol == "own" then "their own prompts" else "this set's prompts" end)",
    .published.detection.from,
    ("against" | pad(12)) + ("set" | pad(12)) + "auroc  wasserstein",
    (.published.detection.against | to_entries[] | .key as $against | .value | to_entries[]
        | ($against | pad(12)) + (.key | pad(12)) + " " + (.value.auroc | digits(2)) + "         " + (.value.wasserstein | digits(2)))
 else empty end),
(if .published.elsewhere then "", "published figures: in the report of PROFILE=\(.published.elsewhere), which follows their steps" else empty end),
(.missing[] | "", "no detection against \(.): its texts were not at hand")
