# The published figures as lines under the tables of text; nothing where there are none.
include "numbers";
def pad(n): tostring | . + " " * ([n - length, 0] | max);
(if .published.sets then
    "", "published, with Mistral-7B-Instruct v0.3 (not measured here)",
    ("set" | pad(12)) + "macro_f1     ece",
    (.published.sets | to_entries[]
        | (.key | pad(12)) + "   " + (.value.macro_f1 | digits(3)) + "   " + (.value.ece | digits(3)) + "  " + (.value.note // ""))
 else empty end),
(if .published.detection then
    "", "published, area under the ROC curve of detection",
    ("against" | pad(12)) + "teacher  softmax  dirichlet",
    (.published.detection | to_entries[]
        | (.key | pad(12)) + "   " + (.value.teacher | digits(2)) + "     " + (.value.softmax | digits(2)) + "       " + (.value.dirichlet | digits(2)))
 else empty end),
(.missing[] | "", "no detection against \(.): its texts were not at hand")
