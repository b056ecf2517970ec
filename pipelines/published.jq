# The published figures as lines under the tables of text; nothing where there are none.
def pad(n): tostring | . + " " * ([n - length, 0] | max);
def fixed(n): (. * pow(10; n) | round | tostring | "0" * ([n + 1 - length, 0] | max) + .) | .[:-n] + "." + .[-n:];
(if .published.sets then
    "", "published, with Mistral-7B-Instruct v0.3 (not measured here)",
    ("set" | pad(12)) + "macro_f1     ece",
    (.published.sets | to_entries[]
        | (.key | pad(12)) + "   " + (.value.macro_f1 | fixed(3)) + "   " + (.value.ece | fixed(3)) + "  " + (.value.note // ""))
 else empty end),
(if .published.detection then
    "", "published, area under the ROC curve of detection",
    ("against" | pad(12)) + "teacher  softmax  dirichlet",
    (.published.detection | to_entries[]
        | (.key | pad(12)) + "   " + (.value.teacher | fixed(2)) + "     " + (.value.softmax | fixed(2)) + "       " + (.value.dirichlet | fixed(2)))
 else empty end),
(.missing[] | "", "no detection against \(.): its texts were not at hand")
