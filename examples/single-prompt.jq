# One prompt's predictions out of an ensemble's: what rec to-json --header printed, for rec from-json.
#
# usage: jq -c --argjson i PROMPT -f examples/single-prompt.jq

if has("members") then
    (.probs | length) as $classes
    | .probs = .members[$i * $classes:][:$classes] | .aleatoric = null | .epistemic = null
else
    .head = "softmax"
end | del(.members, .weights)
