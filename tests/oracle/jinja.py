"""Recorded answers for templates: what transformers' renderer (jinja2 in its sandbox) makes of them.

usage: jinja.py FILE             writes tests/data/chat/jinja.jsonl
       jinja.py --render PROGRAM FOLDER
           renders every template in FOLDER (*.jinja, of models) with conversations of many kinds by
           transformers and by PROGRAM (build/oracle/jinja_render), and compares
needs: transformers, jinja2
"""

import collections
import datetime
import glob
import json
import os
import subprocess
import sys

from transformers.utils import chat_template_utils


class FixedDate(datetime.datetime):
    @classmethod
    def now(cls):
        return cls(2024, 7, 26)


chat_template_utils.datetime = FixedDate

CONTEXT = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "  Grüße \u4f60\u597d \U0001f600\n"},
        {"role": "assistant", "content": "ok {x}"},
    ],
    "numbers": [3, 1, 2],
    "words": ["b", "A", "c", "a"],
    "mixed": [1, "two", None, True, 2.5, [1], {"k": "v"}],
    "pairs": {"b": 1, "A": 2, "c": {"d": [1, 2]}},
    "empty": "",
    "nothing": None,
    "yes": True,
    "text": "The quick brown fox",
    "lines": "one\ntwo\r\nthree\n",
    "quotes": "it's \"so\" \\ \t\x01 é \u2028 \U0001f600 \u00ad",
    "bos_token": "<s>",
}

# What is said by a template that stands for the construct; each renders, or fails, as jinja2 has it.
EXPRESSIONS = """
1 + 2 * 3 - 4 / 2
7 // 2, -7 // 2, 7 // -2, 7 % 3, -7 % 3, 7 % -3, -7 % -3
2 ** 10, 2 ** -1, 2.0 ** 0.5, (-1) ** 1000001, 0 ** 0
1 / 3, 0.1 + 0.2, 1e16, 123456789012345678, 1e-5, 0.0001, 5.0, -0.0, 1e300, 1.5e-7
1.0 // 0.3, -1.5 % 1, 7.5 // 2
True + 1, true * 3
- 3, + 3, -3 | abs
-2 | string
1 / 0
1 % 0
9223372036854775807
'a' + 'b' ~ 1 ~ none ~ true ~ 1.0 ~ undefined_thing
'a' * 3, 2 * 'ab', [1] * 2, 'a' * -1
'a' + 1
'a' + undefined_thing
[1] + [2, 'x'], (1,) + (2,)
[1, 2, [3, 'a'], {'k': none}, (1,), ()]
'single' "double" 'joined'
'esc \\n \\t \\\\ \\' \\" \\x41 \\u00e9 \\U0001f600 \\d'
1 == 1.0, 1 == true, '1' == 1, [1] == [1], {'a': 1} == {'a': 1.0}, none == false, none == none
1 < 2 < 3, 1 < 3 < 2, 'a' < 'b', 'B' < 'a', [1, 2] < [1, 3], 2 >= 2, 'é' > 'z'
1 < 'a'
1 != 2, 'a' != 'a', not 1 == 2
'b' in 'abc', '' in 'abc', 'x' not in 'abc', 2 in numbers, 'k' in {'k': 1}, 'z' in undefined_thing
1 in 'abc'
not true or false and true, 1 and 2, 0 or 'x', '' or none, none and 1
'yes' if yes else 'no', 'yes' if empty else 'no', 'x' if empty
1 if false else 2 if false else 3
text[0], text[-1], text[100], text[4:9], text[:3], text[-3:], text[::-1], text[::2], text[9:4]
'grüße 你好'[2:7], 'grüße'[::-1], 'grüße'[-2], '你好'|length
numbers[0], numbers[-1], numbers[5] is defined, numbers[1:], numbers[::-1], numbers[:-1], numbers[5:]
numbers[0:3:0]
messages[0].role, messages[0]['role'], messages[1:][0]['role'], messages[-1].content, messages|length
messages[0].missing, messages[0]['missing'] is defined
messages[0].missing.more
undefined_thing.more
undefined_thing[0]
undefined_thing()
undefined_thing, undefined_thing|length, undefined_thing|default('d'), empty|default('d'), empty|default('d', true)
none, true, false, None, True, False
pairs.b, pairs['A'], pairs.c.d[1], pairs.get('b'), pairs.get('q'), pairs.get('q', 'dflt'), pairs.zzz
pairs.items()|list, pairs.keys()|list, pairs.values()|list, pairs|list, pairs|items|list, pairs|length
pairs|dictsort, pairs|dictsort(true), {'x': 2, 'y': 1}|dictsort(false, 'value'), {'x': 2, 'y': 1}|dictsort(reverse=true)
undefined_thing|items|list
mixed, mixed|string
quotes, [quotes]
["it's", 'say "x"', 'both \\' and "']
mixed|tojson, pairs|tojson, quotes|tojson, none|tojson, true|tojson, 'a'|tojson
pairs|tojson(indent=2)
mixed|tojson(indent=4)
[]|tojson(indent=2), {}|tojson(indent=2), [[], {}]|tojson(indent=1)
pairs|tojson(sort_keys=true), quotes|tojson(ensure_ascii=true), pairs|tojson(separators=(',', ':'))
{1: 2, none: 3, true: 4, 1.5: 5}|tojson
'<b>&\\'"'|tojson, '<b>'|string
'<b>'|safe
undefined_thing|tojson
'  x y  '|trim, '\\u00a0x\\u3000'|trim, 'xxaxx'|trim('x'), 5|trim
'  x '.strip() ~ '|', '  x '.lstrip() ~ '|', '  x '.rstrip() ~ '|', '\\n\\nx\\n'.strip('\\n') ~ '|', 'abcba'.strip('ab')
'a,b,,c'.split(','), 'a b  c '.split(), 'a,b,c'.split(',', 1), ''.split(), ''.split(','), ' a  b c '.split(none, 1)
'a--b--c'.rsplit('--', 1), 'a</think>b'.split('</think>')[-1].lstrip('\\n')
'abc'.split('')
lines.splitlines(), 'a\\n\\nb'.splitlines(), 'a\\nb'.splitlines(true), ''.splitlines()
'abc'.startswith('ab'), 'abc'.startswith('x'), 'abc'.endswith('bc'), 'abc'.startswith(('x', 'a')), ''.startswith('')
'abc'.startswith(1)
'abcabc'.replace('b', 'XX'), 'abcabc'.replace('b', 'X', 1), 'abc'.replace('', '-'), 'abc'|replace('b', 'x'), 'aaa'|replace('a', 'b', 2), 5|replace(5, 6)
'abcabc'.find('c'), 'abc'.find('z'), 'abcabc'.rfind('b'), 'äbcb'.find('b'), 'abab'.count('ab')
'abc'.upper(), 'ÄBC é'.lower(), 'hello world-x'.title(), 'hELLO wORLD'.capitalize(), "they're bill's"|title, 'hello (world) x-y'|title, 'hELLO'|capitalize, 'ab'|upper, 'AB'|lower
'12'.isdigit(), ''.isdigit(), '1a'.isdigit()
'prefix-x'.removeprefix('prefix-'), 'x.txt'.removesuffix('.txt'), 'x'.removeprefix('y')
', '.join(words), ', '.join([1])
words|join, words|join(', '), numbers|join('-'), messages|join(',', attribute='role'), undefined_thing|join('x')
words|first, words|last, []|first, 'abc'|first, 'abc'|last, pairs|first
words|sort, words|sort(true), words|sort(case_sensitive=true), numbers|sort, messages|sort(attribute='role')|map(attribute='role')|list
words|unique|list, [1, 1.0, 2, 1]|unique|list
words|reverse|list, 'abc'|reverse, numbers|list, 'abc'|list
messages|map(attribute='role')|list, words|map('upper')|list, messages|map(attribute='zz', default='-')|list, [' a ']|map('trim')|list
messages|selectattr('role', 'equalto', 'user')|list|length, messages|rejectattr('role', '==', 'user')|map(attribute='role')|list
messages|selectattr('role')|list|length, numbers|select('odd')|list, numbers|reject('odd')|list, mixed|select|list, mixed|select('string')|list
messages|selectattr('content', 'defined')|list|length, messages|selectattr('role', 'in', ['user', 'system'])|map(attribute='role')|join(' ')
'42'|int, '42.9'|int, 'x'|int, 'x'|int(7), 3.9|int, -3.9|int, true|int, ' 5 '|int, none|int, '1.5'|float, 'x'|float, 2|float
-5|abs, (-5)|abs, 5.5|abs
'a\\nb\\n\\nc'|indent, 'a\\nb'|indent(2, true), 'a\\n\\nb'|indent('> ', blank=true)
text|no_such_filter
text is no_such_test
text.no_such_method()
text is string, 1 is string, pairs is mapping, words is mapping, words is sequence, text is sequence, pairs is sequence, 1 is sequence
words is iterable, text is iterable, 1 is iterable, undefined_thing is iterable, none is iterable
1 is number, 1.5 is number, true is number, 'a' is number, 1 is integer, true is integer, 1.0 is float
true is true, 1 is true, false is false, none is none, 0 is none, true is boolean, 1 is boolean
text is defined, nope is defined, nope is undefined, text is not defined, nope is not defined
1 is odd, 2 is even, 9 is divisibleby 3, 9 is divisibleby(4), 3 is eq 3, 3 is equalto(4), 3 is ne 4, 3 is lt 4, 3 is gt 4, 3 is le 3, 3 is ge 3, 2 is in [1, 2]
range is callable, text is callable
text is string is string
not text is string, (text is string) and yes
range(3)|list, range(1, 7, 3)|list, range(3, 0, -1)|list, range(0)|list
range(0, 3, 0)|list
range(100001)|list
dict(a=1, b='x'), dict({'q': 1}, r=2)
namespace(x=1).x
raise_exception('told ' ~ 'so')
strftime_now('%d %b %Y'), strftime_now('%Y-%m-%d'), strftime_now('%B %d, %Y %A %H:%M:%S')
{'a': {'b': 1}}, {'x': 1,}, [1,], {'a': 1}['a'], {'a': 1}.a
{'a': 1}['items'] is defined
(1, 2), (1), (1,), 1, 2
[[1, 2], [3]][0][1]
[1, 2].0
words.0
'abc' 'def'[0]
"a" in ["a"] and "b" not in ["a"]
('a' ~ 'b')|upper ~ 'c'|upper
- 'a'
text | upper | lower | title
text.split(' ')[1].upper()[0:2]
text.append('x')
""".strip().split("\n")

TEMPLATES = [
    # white space round tags
    "a\n  {% if true %}\n  b\n  {% endif %}\nc\n",
    "a\n  {%- if true -%}\n  b\n  {%- endif -%}\nc\n",
    "a\n  {%+ if true +%}\n  b\n  {%+ endif +%}\nc\n",
    "  {{ 1 }}  \n  {{- 2 -}}  \n {{ 3 }}\n",
    "x {# gone #} y\n  {# a line #}\nz {#- left -#} w\n",
    "{% if true %}\r\nwin\r\n{% endif %}\r\nend\r\n",
    "{% raw %} {{ not }} {% if %} {% endraw %}|",
    "a\n  {% raw %}\n  b\n  {% endraw %}\nc",
    "a {%- raw -%}\n  b {{ x }}\n  {%- endraw -%}\nc",
    "text\n\n",
    "text\n",
    "",
    "\n",
    "{{ 'x' }}\n",
    "{{\n'x'\n}}{%\nif true\n%}y{%\nendif\n%}",
    "{{ {'a': {'b': 1}} }} {{ {} }} }} %} #}",
    "\u00a0{%- if true -%}\u3000x\u2003{%- endif -%}\u2028y",
    "{ { { % # }",
    # set, scopes
    "{% set x = 1 %}{% if true %}{% set x = 2 %}{% endif %}{{ x }}",
    "{% set x = 1 %}{% for i in [1, 2] %}{% set x = x + i %}{{ x }}{% endfor %}{{ x }}",
    "{% set ns = namespace(n=0, s='') %}{% for i in numbers %}{% set ns.n = ns.n + i %}"
    "{% set ns.s = ns.s ~ i %}{% endfor %}{{ ns.n }} {{ ns.s }}",
    "{% set ns = namespace() %}{% set ns._x = 1 %}",
    "{% set pairs.x = 1 %}",
    "{% set a, b = 1, 'x' %}{{ a }}{{ b }}{% set (c, d) = [3, 4] %}{{ c + d }}",
    "{% set a, b = [1] %}",
    "{% set x %}block {{ 1 + 1 }}{% endset %}[{{ x }}]",
    "{% set x | upper | replace('B', 'x') %}block{% endset %}{{ x }}",
    "{% set t = 1, 2 %}{{ t }}",
    "{% filter upper %}shout {{ text }}{% endfilter %}",
    "{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}{{ a is defined }}",
    "{% generation %}{% set q = 1 %}kept{% endgeneration %}{{ q is defined }}",
    # loops
    "{% for m in messages %}{{ loop.index }}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}"
    "{{ loop.length }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.depth }} {% endfor %}",
    "{% for a in [1, 2] %}{% for b in [3, 4] %}{{ loop.depth }}{{ loop.depth0 }}{% endfor %}"
    "{{ loop.index }}{% endfor %}",
    "{% for x in [] %}a{% else %}none{% endfor %}{% for x in nope %}a{% else %}none{% endfor %}",
    "{% for x in [1, 2] %}{% continue %}{% else %}none{% endfor %}"
    "{% for x in [1, 2] %}{% break %}{% else %}none{% endfor %}"
    "{% for x in [1, 2] %}{% if x == 2 %}{% break %}{% endif %}{% else %}none{% endfor %}",
    "{% for y in [1, 2] %}{% for x in [1] %}{% break %}{% else %}{{ y }}{% break %}{% endfor %}{{ y }}{% endfor %}",
    "{{ nothing | selectattr('a', 'equalto', 1) | list | length }}{{ nothing | map('upper') | list }}"
    "{{ 0 | select | list }}{{ false | reject | list }}{{ nope | rejectattr('a') | list }}{{ '' | map(attribute='a') | list }}",
    "{{ 1 | map('upper') | list }}",
    "{{ nothing | list }}",
    "{{ 3.0 % 0.1 }} {{ 1.0 // 0.1 }} {{ 6.0 % -3 }} {{ -7.5 // 2 }} {{ -7.5 % 2 }} {{ 7.5 % -2 }} {{ 0.0 // 5 }} {{ -1.0 // 1e300 }} {{ 2 ** 0.5 }}",
    "{{ 0.0 ** -1 }}",
    "{{ 10.0 ** 400 }}",
    "{% for x in numbers if x > 1 %}{{ x }}{{ loop.index }}{{ loop.last }};{% else %}none{% endfor %}",
    "{% for x in numbers if x > 9 %}{{ x }}{% else %}none{% endfor %}",
    "{% for k, v in pairs.items() %}{{ k }}={{ v }};{% endfor %}",
    "{% for k in pairs %}{{ k }};{% endfor %}{% for c in 'aé你' %}{{ c }};{% endfor %}",
    "{% for i in range(5) %}{% if i == 1 %}{% continue %}{% endif %}{% if i == 3 %}{% break %}"
    "{% endif %}{{ i }}{% endfor %}",
    "{% for i in [1, 2, 3] %}{{ loop.cycle('a', 'b') }}{{ loop.previtem }}{{ loop.nextitem }},{% endfor %}",
    "{% for a, b in [(1, 2), (3, 4)] %}{{ a }}{{ b }} {% endfor %}",
    "{% for a, b in [1] %}{% endfor %}",
    "{% for x in 5 %}{% endfor %}",
    "{% for x in none %}{% endfor %}",
    "{% for x in 1, 2 %}{{ x }}{% endfor %}{{ x is defined }}{{ loop is defined }}",
    "{% for m in messages[::-1] %}{{ m.role }} {% endfor %}",
    "{% for i in range(3) -%}\n  {{ i }}\n{%- endfor %}",
    # if
    "{% if 0 %}a{% elif '' %}b{% elif [] %}c{% else %}d{% endif %}",
    "{% if nope %}a{% elif messages %}b{% endif %}{% if {} or none %}c{% endif %}",
    # macros
    "{% macro m(a, b='d', c=a) %}{{ a }}{{ b }}{{ c }};{% endmacro %}{{ m(1) }}{{ m(1, 2) }}"
    "{{ m(b=3, a=4) }}{{ m() }}{{ m(1, c=5)|upper }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, a=2) }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(q=2) }}",
    "{% macro fact(n) %}{% if n > 1 %}{{ n * (fact(n - 1)|int) }}{% else %}1{% endif %}{% endmacro %}{{ fact(6) }}",
    "{% set g = 'g' %}{% macro m() %}{{ g }}{% set g = 'l' %}{{ g }}{% endmacro %}{{ m() }}{{ g }}",
    "{%- macro role(m) -%}\n  {{- m.role -}}\n{%- endmacro -%}\n{% for m in messages %}{{ role(m) }}|{% endfor %}",
    "{% macro for_each(list) %}{% for x in list %}{% if x == 2 %}{% break %}{% endif %}{{ x }}{% endfor %}{% endmacro %}{{ for_each([1, 2]) }}",
    # damaged
    "{% if true %}a",
    "a\nb {% endif %}",
    "{% for x in y %}{% endif %}{% endfor %}",
    "{{ 1 + }}",
    "{{ 'abc }}",
    "{{ (1 }}",
    "{{ 1",
    "{% if %}a{% endif %}",
    "{# never ends",
    "{% raw %} never ends",
    "{% nonsense %}",
    "{% set 1 = 2 %}",
    "{% set true = 2 %}",
    "{{ a b }}",
    "{{ $ }}",
    "{{ f(a=1, 2) }}",
    "{% break %}",
    "{% macro m(a=1, b) %}{% endmacro %}",
    "{% %}",
    "{{ }}",
]

# Templates in the manner of today's, in words of their own.
CHATS = {
    # ChatML with a system line of its own
    "chatml": "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|open|>system\nHelp kindly.<|close|>\n' }}{% endif %}{{'<|open|>' + message['role'] + '\n'"
    " + message['content'] + '<|close|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|open|>assistant\n' }}{% endif %}",
    # headers, a date, trimmed content
    "headers": """{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "1 Jan 2000" %}
    {%- endif %}
{%- endif %}
{#- The system line comes first. #}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|head|>system<|tail|>\\n\\nToday: " + date_string + "\\n" + system_message + "<|stop|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|head|>' + message['role'] + '<|tail|>\\n\\n'+ message['content'] | trim + '<|stop|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|head|>assistant<|tail|>\\n\\n' }}
{%- endif %}
""",
    # turns that must alternate, no system role, content as parts
    "turns": """{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- if messages[0]['content'] is string -%}
        {%- set first = messages[0]['content'] + '\n\n' -%}
    {%- else -%}
        {%- set first = messages[0]['content'][0]['text'] + '\n\n' -%}
    {%- endif -%}
    {%- set rest = messages[1:] -%}
{%- else -%}
    {%- set first = "" -%}
    {%- set rest = messages -%}
{%- endif -%}
{%- for message in rest -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception("Turns must alternate: user, assistant, user ...") }}
    {%- endif -%}
    {%- set role = "model" if message['role'] == 'assistant' else message['role'] -%}
    {{ '<turn>' + role + '\n' + (first if loop.first else "") }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for item in message['content'] -%}
            {{ item['text'] | trim if item['type'] == 'text' else '<picture>' }}
        {%- endfor -%}
    {%- else -%}
        {{ raise_exception("What content is that?") }}
    {%- endif -%}
    {{ '</turn>\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{'<turn>model\n'}}
{%- endif -%}
""",
    # thinking that is cut out of earlier answers, and switched off
    "thinking": """{%- set ns = namespace(multi=true, last=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi and message.role == "user" and not(message.content.startswith('<reply>') and message.content.endswith('</reply>')) %}
        {%- set ns.multi = false %}
        {%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|open|>' + message.role + '\\n' + message.content + '<|close|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set content = message.content %}
        {%- if '</think>' in content %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last and (loop.last or content) %}
            {{- '<|open|>assistant\\n<think>\\n</think>\\n\\n' + content }}
        {%- else %}
            {{- '<|open|>assistant\\n' + content }}
        {%- endif %}
        {{- '<|close|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|open|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}""",
    # the system line in the last user's turn
    "instructions": """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if loop.last and system_message is defined %}
            {{- "[ASK] " + system_message + "\\n\\n" + message["content"] + "[/ASK]" }}
        {%- else %}
            {{- "[ASK] " + message["content"] + "[/ASK]" }}
        {%- endif %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"]|trim + eos_token}}
    {%- else %}
        {{- raise_exception("Roles are user and assistant") }}
    {%- endif %}
{%- endfor %}
""",
    # looks into the content
    "looking": "{% for m in messages %}{{ '<' ~ m.role ~ '>' }}{% if 'secret' in m.content %}"
    "(hidden){% else %}{{ m.content.replace('bad', 'good') }}{% endif %}{% endfor %}"
    "{{ '<assistant>' if add_generation_prompt }}",
    "roles only": "{% generation %}{{ messages|map(attribute='role')|join(',') }}{% endgeneration %}",
}


def conversations():
    user = {"role": "user", "content": "Film: {x} grüße 你好 \U0001f600"}
    answer = {"role": "assistant", "content": " positive "}
    blanks = {"role": "user", "content": "  blanks at ends \n "}
    thought = {"role": "assistant", "content": "<think>\nso\n</think>\n\nnegative"}
    control = {"role": "user", "content": "<|close|> [ASK] <s> </think> secret bad"}
    parts = {"role": "user", "content": [{"type": "text", "text": " one "}, {"type": "image"}]}

    def system(text):
        return {"role": "system", "content": text}

    yield [user]
    yield [user, answer, blanks]
    yield [user, answer, user, thought, {"role": "user", "content": ""}]
    for text in ('Be "brief".', "", "  spaced\n"):
        yield [system(text), user]
        yield [system(text), user, answer, blanks]
    yield [user, answer]
    yield [answer, user]
    yield [user, user]
    yield [user, system("late"), user]
    yield [control, thought, control]
    yield [parts]
    yield [{"role": "tool", "content": "t"}]


def contexts(prompts=(True, False)):
    for prompt in prompts:
        for messages in conversations():
            yield {
                "messages": messages,
                "add_generation_prompt": prompt,
                "bos_token": "<s>",
                "eos_token": "</s>",
                "tools": None,
                "documents": None,
                "enable_thinking": False,
            }


def render(template, context):
    try:
        return chat_template_utils._compile_jinja_template(template).render(**context)
    except Exception as e:  # whatever a template raises is the answer
        return e


def recorded(template, context):
    text = render(template, context)
    return None if isinstance(text, Exception) else text


def write(path):
    """Contexts a line each, then a line for each template: texts by the number of the context."""
    chats = [*contexts([True]), next(contexts([False]))]
    with open(path, "w", encoding="utf-8") as f:

        def line(**record):
            f.write(json.dumps(record) + "\n")

        for context in [CONTEXT, *chats]:
            line(context=context)
        for template in ["{{ " + e + " }}" for e in EXPRESSIONS] + TEMPLATES:
            line(template=template, texts=[[0, recorded(template, CONTEXT)]])
        for template in CHATS.values():
            texts = [[i, recorded(template, c)] for i, c in enumerate(chats, 1)]
            line(template=template, texts=texts)


def compare(program, folder):
    child = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ours(template, context):
        child.stdin.write((json.dumps({"template": template, "context": context}) + "\n").encode())
        child.stdin.flush()
        return json.loads(child.stdout.readline()).get("text")

    def tools():
        yield None
        call = {"type": "function", "id": "abcdefghi"}
        arguments = {"q": "a", "n": 1.5}
        yield [{"role": "user", "content": "u"},
               {"role": "assistant", "content": "",
                "tool_calls": [{**call, "function": {"name": "f", "arguments": arguments}}]},
               {"role": "tool", "name": "f", "tool_call_id": "abcdefghi", "content": "r"}]

    declared = [{"type": "function", "function": {
        "name": "f", "description": 'Gets "a" <b>',
        "parameters": {"type": "object", "required": ["q"], "properties": {
            "q": {"type": "string", "description": "d\né", "enum": ["a", "b"]},
            "n": {"type": ["integer", "null"]}}}}}]
    count = collections.Counter()
    for path in sorted(glob.glob(os.path.join(folder, "*.jinja"))):
        with open(path, encoding="utf-8", newline="") as f:
            template = f.read()
        cases = list(contexts())
        for messages in tools():
            for context in list(contexts()):
                cases.append({**context, "tools": declared, "messages": messages or context["messages"]})
        for context in cases:
            wanted, got = recorded(template, context), ours(template, context)
            count["same" if wanted == got else "different"] += 1
            if wanted != got:
                print(f"{path}:\n  {context}\n  wanted {wanted!r}\n  got    {got!r}")
    print(f"{folder}: {count['same']} renderings agree with transformers, {count['different']} do not")
    sys.exit(count["different"] > 0 or not count["same"])


if __name__ == "__main__":
    if sys.argv[1] == "--render":
        compare(*sys.argv[2:])
    else:
        write(sys.argv[1])
