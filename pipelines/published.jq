# The published figures as lines under the tables of text; nothing where there are none.
def pad(n): tostring | . + " " * ([n - length, 0] | max);
(if .published.sets then
    "", "published, with Mistral-7B-Instruct v0.3 (not measured here)",
    ("set" | pad(12)) + "macro_f1     ece",
    (.published.sets | to_entries[]
        | (.key | pad(12)) + (.value.macro_f1 | pad(8)) + "  " + (.value.ece | pad(6)) + (.value.note // ""))
 else empty end),
(if .published.detection then
    "", "published, area under the ROC curve of detection",
    ("against" | pad(12)) + "teacher  softmax  dirichlet",
    (.published.detection | to_entries[]
        | (.key | pad(12)) + (.value.teacher | pad(9)) + (.value.softmax | pad(9)) + (.value.dirichlet | tostring))
 else empty end),
(.missing[] | "", "no detection against \(.): its texts were not at hand")
