# For the report's page and its tables of text.

# The settings of a run that are not its profile's.
def departures: map("\(.key) \(.value | if . == "" then "none" else . end) (\(.profile | if . == "" then "none" else . end))") | join(", ");

def digits(n): # a number with n digits after the point
    (if . < 0 then "-" else "" end) as $sign
    | (fabs * pow(10; n) | round | tostring | "0" * ([n + 1 - length, 0] | max) + .) as $digits
    | $sign + $digits[:-n] + "." + $digits[-n:];
