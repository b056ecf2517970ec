# What a run of the demo showed, in five lines of plain words. Each says whether what the demo is to show holds in this
# run, by margins outside the 95 % intervals where there are any.
#
# usage: rec to-json TEACHER | jq -rn --slurpfile evaluation FILE -f examples/five-lines.jq
# TEACHER is the teacher's predictions, with their members. FILE is from dir-eval --json --members --bootstrap N
# --baseline teacher --at-coverage 0.7, of the sets teacher, softmax, dirichlet and, of each prompt, prompt.0, prompt.1
# ..., with --ood of teacher and dirichlet.

def mean: add / length;
def digits($n): (. * pow(10; $n) | round) as $scaled | ($scaled | fabs | tostring) as $text
    | (if $scaled < 0 then "-" else "" end) as $sign
    | if $n == 0 then $sign + $text
      else ("0" * ([$n + 1 - ($text | length), 0] | max) // "") + $text | $sign + .[:-$n] + "." + .[-$n:] end;
def percent: . * 100 | digits(0);
def line($claim): if $claim then . else . + " (NOT SHOWN IN THIS RUN)" end;

# Members of a text as a list of probabilities for each prompt.
def by_prompt: (.probs | length) as $k | .members as $all | [range(0; $all | length; $k) | $all[. : . + $k]];

[inputs] as $members
| $evaluation[0]
| (reduce .sets[] as $set ({}; .[$set.name] = $set.metrics)) as $of
| (reduce .differences[] as $d ({}; .[$d.set] = $d.metrics)) as $difference
| (reduce .detection[] as $d ({}; .[$d.set] = $d.metrics)) as $detection
| [$of | keys[] | select(startswith("prompt."))] as $prompts
| $of["teacher/prompts"] as $average
| def best($metric): $prompts | min_by($of[.][$metric].value);
  def gained($set; $metric): ($average[$metric].value - $of[$set][$metric].value)
      / ($average[$metric].value - $of.teacher[$metric].value);
  def worse($set; $metric): $difference[$set]["difference_" + $metric].low > 0;
  ([$members[] | by_prompt | map(max) | mean] | mean) as $sure
| ([$members[] | by_prompt | map(index(max)) | unique | length | if . > 1 then 1 else 0 end] | mean) as $split
| ($of.dirichlet.accuracy.value | 1 - .) as $errors
| $of.dirichlet["risk_at_coverage_0.7_total"].value as $risk
| ("1. Single prompts disagree and are over-confident: the \($prompts | length) are of one mind about \(1 - $split | percent) % of the texts; " +
    "on average they are \($sure | percent) % sure and \($average.accuracy.value | percent) % right."
    | line($split > 0 and $sure > $average.accuracy.high)),
  ("2. Together they are better: NLL \($of.teacher.nll.value | digits(3)) and ECE \($of.teacher.ece.value | digits(3)); " +
    "the average prompt has \($average.nll.value | digits(3)) and \($average.ece.value | digits(3)), " +
    "the best \($of[best("nll")].nll.value | digits(3)) and \($of[best("ece")].ece.value | digits(3))."
    | line(all("nll", "ece"; . as $metric | worse("teacher/prompts"; $metric) and worse(best($metric); $metric)))),
  ("3. A student needs one pass where they need \($prompts | length), and keeps most of the gain: in NLL the softmax student " +
    "\(gained("softmax"; "nll") | percent) %, the Dirichlet student \(gained("dirichlet"; "nll") | percent) %; " +
    "in ECE \(gained("softmax"; "ece") | percent) % and \(gained("dirichlet"; "ece") | percent) %."
    | line(all("softmax", "dirichlet"; gained(.; "nll") >= 2 / 3 and gained(.; "ece") >= 2 / 3))),
  ("4. Epistemic uncertainty finds texts of another kind: AUROC \($detection.dirichlet.auroc_epistemic.value | digits(3)) " +
    "by the Dirichlet student, \($detection.teacher.auroc_epistemic.value | digits(3)) by the teacher."
    | line(all("dirichlet", "teacher"; $detection[.].auroc_epistemic.low > 0.9))),
  ("5. Whoever may abstain errs less: of all texts the Dirichlet student gets \($errors * 100 | digits(1)) % wrong, of the " +
    "70 % that it is surest of \($risk * 100 | digits(1)) %."
    | line($risk <= $errors / 2))
