"""Makes test/golden/templates.json: what transformers' chat templates write, construct by construct.

    python test/golden/make/templates.py > test/golden/templates.json

Needs transformers (made with transformers 5.24.0, jinja2 3.1.6, Python 3.11). Every template is rendered by transformers' own
render_jinja_template with the chat CHAT: `text`, and `generated`, the parts between generation tags; or null where Python refuses, or
writes an address in memory.
"""
import json
import random

from transformers.utils.chat_template_utils import render_jinja_template

CHAT = {
    "messages": [
        {"role": "system", "content": " Be brief.\n"},
        {"role": "user", "content": "Grüße, 𝒳😀! <b>'q' \"d\"</b>", "n": 1.0, "items": [1, 2]},
        {"role": "assistant", "content": "  one\ttwo\x85\ufeff three \x1c", "tool_calls": [{"function": {"name": "f", "arguments": {"10": 1, "b": [True, None, 0.1], "2": 1e16, "a": {}}}}]},
        {"role": "tool", "content": "ß ŒUVRE ΑΣ ǆ"},
        {"role": "assistant", "content": ""},
    ],
    "tools": [{"type": "function", "function": {"name": "é", "parameters": {"default": 1.0, "big": 12345678901234567890, "tiny": 1e-7, "list": [], "none": None, "no": False, "-0": -0.0}}}],
    "variables": {"f": 1.5, "zero": 0, "big": 2**70, "text": "a-b_c d", "empty": "", "nested": {"x": {"y": [1, {"z": "deep"}]}, "items": 3, "_p": 4}, "no": False,
                  "words": ["b", "A", "c", "a", "B"], "numbers": [3, 1.0, 2, True, 1], "mixed": ["x", 1, None, True, 2.5, ["y"], {"k": "v"}],
                  "rows": [{"n": 2, "t": "b"}, {"n": 1, "t": "A"}, {"n": 2, "t": "a"}, {"t": "c"}], "lines": "one\n\ntwo\r\nthree\x0bfour"},
}

EXPRESSIONS = r"""
none ; true ; false ; None ; True ; 1 ; 1.0 ; 1e3 ; 1e16 ; 1e-5 ; 0.1 + 0.2 ; 1_000 ; 0x1f ; 1.5e-3 ; -0.0 ; f ; zero ; big ; big + 1 ; big * big
messages[1].n ; tools[0] ; tools ; mixed ; nested ; numbers ; words ; undefined_name ; nested.nothing ; nested.nothing.more ; (1, 2) ; (1,) ; () ; [] ; {}
[none, undefined_name, 'it\'s', "q\"", 'both\'"', "\n\t\\", "é", "\x00\x7f\u200b\u2028 \xa0"] ; {'a': 1, 2: 'b', none: 3} ; {true: 1} ; {'a': {'b': (1, [2])}} ; {'a': 1, 'a': 2}
'a' ~ 1 ~ none ~ true ~ 1.0 ; 'a' + 1 ; 'a' + 'b' ~ 2 ; 1 + 2 ~ 3 ; 1 ~ 2 + 3 ; 'ab' * 2 ; 2 * 'ab' ; [1] * 2 ; [1] + [2] ; (1,) + (2,) ; [1] + (2,) ; 'a' - 'b' ; none + 1 ; 'a' % 1 ; '%s' % 'a'
7 / 2 ; 7 // 2 ; -7 // 2 ; 7 % -3 ; -7 % 3 ; 7.5 % -2 ; 7.5 // -2 ; 6 / 3 ; 1 / 0 ; 1 % 0 ; 2 ** 10 ; 2 ** -1 ; 2 ** 3 ** 2 ; -2 ** 2 ; 2 ** 0.5 ; 2.0 ** 3 ; true + true ; -true ; +true ; - -3 ; -'a' ; 1 + 1.0 ; 10 ** 30 ; 1e308 * 10 ; 3 * 1.5 ; 5 - 7
1 == 1.0 ; 1 == '1' ; true == 1 ; '1' == 1 ; none == false ; '' == none ; [1, 2] == [1, 2.0] ; [1] == (1,) ; {'a': [1]} == {'a': [1]} ; undefined_name == none ; undefined_name == other_name ; messages == messages ; 'a' != 'b' ; none != 0 ; zero == no
1 < 2 < 3 ; 3 > 2 > 2 ; 1 < 2 == true ; (1 < 2) == true ; 'a' < 'B' ; 'a' < 'b' ; '\ue000' < '𝒳' ; [1, 2] < [1, 3] ; (1,) < (1, 2) ; 1 < 'a' ; none < 1 ; 1 <= 1.0 ; undefined_name < 1 ; [1] < (2,) ; 2 >= 2
'a' in 'abc' ; 1 in 'abc' ; 1 in [1.0] ; '1' in [1] ; 'x' in nested ; 'nothing' in nested ; 1 in nested ; [1] in [[1]] ; 'a' in undefined_name ; undefined_name in [1] ; 'a' not in 'b' ; none in [none] ; [] in nested ; 'a' in none ; 1 in range(3) ; 'k' in mixed
1 and 0 ; 0 or 'x' ; '' or none ; not '' ; not none ; not undefined_name ; undefined_name or 'x' ; undefined_name and 1 ; not 1 == 2 ; true and not false ; [] or {} ; 0.0 or -0.0 ; 1 if true ; 1 if false ; 1 if false else 2 if false else 3 ; (1 if false) is defined
'abc'[0] ; 'abc'[-1] ; 'abc'[5] ; 'abc'['x'] ; 'abc'[1:] ; 'abc'[::-1] ; 'abc'[-2:] ; 'abc'[:-5] ; 'abcdef'[4:1:-2] ; 'abc'[true] ; messages[1].content[7:9] ; messages[1].content[7] ; messages[1].content | length ; messages[1].content[::-1] ; 'abc'[::0] ; 'abc'[none:none]
words[0] ; words[-1] ; words[9] ; words['x'] ; words.0 ; words[1:3] ; words[::2] ; words[1.0] ; (1, 2, 3)[1:] ; (1, 2)[0] ; range(5)[1] ; range(5)[1:3] ; nested[1:2] ; nested['x']['y'][1].z ; nested.items ; nested['items'] ; nested['get'] is callable ; nested._p ; nested['_p'] ; none.x ; none['x'] ; (5).x ; (5).real ; 'a'.length ; words.length ; nested.length ; messages[1].items ; messages[1]['items'] ; words.first ; text.nothing ; nested.x.y.1.z ; nested.__class__ ; ''.__class__ ; nested['__class__'] ; undefined_name[0] ; undefined_name['a'] ; messages[7].role ; messages[7]
nested.keys() | list ; nested.values() | list ; nested.items() | list ; nested.items() ; nested.keys() ; nested.get('x') ; nested.get('q') ; nested.get('q', 5) ; nested.get('q', default=5) ; nested.get([]) ; nested.pop('x') ; nested.update({'a': 1}) ; words.append(1) ; words.count('b') ; words.index('c') ; words.index('zz') ; nested.copy() ; words.copy() ; nested.items() | length ; nested.keys()[0] ; 'x' in nested.keys() ; nested.clear() ; words.sort() ; words.nothing() ; nested.nothing() ; 5() ; 'a'() ; none()
text.upper() ; text.title() ; text.capitalize() ; "ÀB they're o'neill x1y".title() ; messages[3].content.upper() ; messages[3].content.lower() ; messages[3].content.title() ; messages[3].content.capitalize() ; 'ΑΣ'.lower() ; 'ΑΣ'.capitalize() ; 'aΣ b'.lower() ; 'İ'.lower() ; 'ǆ'.capitalize() ; 'ß'.capitalize() ; 'ﬁx'.upper()
messages[2].content.strip() ; messages[2].content.lstrip() ; messages[2].content.rstrip() ; messages[2].content | trim ; 'xxaxx'.strip('x') ; 'xyaxy'.lstrip('yx') ; 'xyaxy'.rstrip('xy') ; '  a '.strip(none) ; 'aXXb' | trim('ab') ; '\ufeffa\u200b'.strip() ; '\x1ca\x1f'.strip() ; '😀a😀'.strip('😀') ; none | trim ; 1.0 | trim ; undefined_name | trim
'a,b,,c'.split(',') ; 'a,b,,c'.split(',', 1) ; ' a  b c '.split() ; ' a  b c '.split(none, 1) ; ' a  b  c '.split(maxsplit=1) ; 'a,b'.split(sep=',') ; 'abc'.split('') ; ''.split() ; ''.split(',') ; 'a\x85b\ufeffc'.split() ; 'a,b,c'.rsplit(',', 1) ; 'a b c'.rsplit() ; 'a b c'.rsplit(none, 1) ; 'a,b,c'.split(',', 0) ; 'a,b,c'.split(',', -1) ; lines.splitlines() ; lines.splitlines(true) ; 'a\n'.splitlines() ; ''.splitlines() ; 'a b c'.split(' ')[1:] ; ' a b '.split(none, 0)
'a-b-c'.partition('-') ; 'a-b-c'.rpartition('-') ; 'abc'.partition('-') ; 'abc'.rpartition('-') ; 'aXbX'.replace('X', 'y') ; 'aXbX'.replace('X', 'y', 1) ; 'ab'.replace('', '-') ; '😀b'.replace('', '-') ; 'aa'.replace('a', 'aa') ; 'a.b'.replace('.', '$&') ; 'abc' | replace('b', 1) ; 'aXX' | replace('X', 'y', 1) ; none | replace('n', 'm') ; 'ab'.replace('a', 1) ; 'abc'.replace('b', 'x', count=1)
'abc'.startswith('ab') ; 'abc'.startswith(('x', 'a')) ; 'abc'.startswith(['a']) ; 'abc'.startswith('b', 1) ; 'abc'.endswith('bc') ; 'abc'.endswith(()) ; 'abc'.startswith('') ; 'abc'.startswith(1) ; '😀b'.find('b') ; 'abc'.find('z') ; 'abcb'.rfind('b') ; 'abc'.index('z') ; 'abc'.index('c') ; 'aXaX'.count('X') ; 'ab'.count('') ; 'abc'.removeprefix('a') ; 'abc'.removesuffix('c') ; 'abc'.removesuffix('') ; 'a'.ljust(3) ~ '|' ; 'a'.rjust(3, '.') ; 'a'.center(4) ; '-5'.zfill(4) ; 'é'.ljust(3, '😀') ; 'a'.ljust(3, 'xy') ; ','.join(['a', 'b']) ; ','.join('ab😀') ; ','.join([1]) ; ','.join(nested) ; 'a'.isdigit() ; '12'.isdigit() ; 'a'.isalpha() ; ' \x1c'.isspace() ; ''.isspace() ; 'aB'.islower() ; 'a1'.islower() ; 'A1'.isupper() ; 'a'.encode() ; '{}'.format(1) ; 'a'.swapcase() ; 'é'.isascii() ; 'a' 'b'
'a\qb' ; 'a\x41\u00e9\U0001F600\101' ; 'a\
b' ; '\N{BULLET}' ; "\a\b\f\v\0" == '' ; '\ud83d' == '' ; 'a	b'
tools | tojson ; tools[0] | tojson(indent=2) ; tools | tojson(indent=0) ; tools | tojson(separators=(',', ':')) ; tools | tojson(sort_keys=true) ; tools | tojson(ensure_ascii=true) ; messages[1].content | tojson ; messages[1].content | tojson(ensure_ascii=true) ; messages[2].content | tojson ; messages[2] | tojson(sort_keys=true) ; messages[2].tool_calls[0].function.arguments | tojson ; {'a': 1, 2: 'b', none: 3} | tojson ; (1, [2, ()]) | tojson ; none | tojson ; true | tojson ; 1.0 | tojson ; 1e-7 | tojson ; 1e22 | tojson ; big | tojson ; undefined_name | tojson ; [undefined_name] | tojson ; nested.items() | tojson ; range(3) | tojson ; 'a' | tojson(indent=2) ; {} | tojson(indent=2) ; {'a': [], 'b': {}} | tojson(indent=4) ; [1, [2]] | tojson(indent='\t') ; [1, 2] | tojson(indent=1, separators=(', ', ' : ')) ; '<>&\'"' | tojson ; '\u2028\x7f\x00\x1f/' | tojson ; tools | tojson(true) ; words | map('upper') | tojson ; f | tojson(foo=1) ; words | tojson(indent=none)
'abc' | length ; words | length ; nested | length ; none | length ; 5 | length ; undefined_name | length ; '' | length ; '😀' | count ; words | map('upper') | length ; range(4) | length ; (1, 2) | length ; messages[1].content | list | length
words | first ; words | last ; [] | first ; [] | last ; 'abc' | first ; 'a😀' | last ; nested | first ; nested | last ; undefined_name | first ; words | select | first ; words | select | last ; none | first ; [none] | first ; [none] | last ; range(3) | last
words | sort ; words | sort(reverse=true) ; words | sort(case_sensitive=true) ; words | sort(true) ; numbers | sort ; mixed | sort ; rows | sort(attribute='t') | map(attribute='t') | list ; rows | sort(attribute='n') ; rows[:3] | sort(attribute='n', reverse=true) | map(attribute='t') | join ; rows | sort(attribute='n,t') ; nested | sort ; 'bca' | sort ; [[2, 1], [1, 5]] | sort ; [(2, 'b'), (2, 'A')] | sort ; [] | sort ; undefined_name | sort ; [2, none] | sort
words | join ; words | join(', ') ; mixed | join('|') ; 'abc' | join('-') ; 'a😀' | join('-') ; rows | join(',', attribute='t') ; rows | join(',', 'n') ; words | join(1) ; none | join ; nested | join(' ') ; [1, 2.0, none] | join(d='+') ; undefined_name | join('x') ; words | join(', ') | upper
words | reverse ; words | reverse | list ; 'a😀b' | reverse ; (1, 2) | reverse | list ; nested | reverse | list ; words | unique | list ; numbers | unique | list ; words | unique(true) | list ; rows | unique(attribute='n') | map(attribute='t') | list ; ['a', 'A', 'b'] | unique | join
words | upper ; none | upper ; text | title ; "they're (a) [b] x-y z_w" | title ; messages[3].content | title ; 'aBC dE' | capitalize ; 1.0 | capitalize ; true | lower ; text | capitalize ; undefined_name | upper ; ['A'] | lower
'12' | int ; ' 12 ' | int ; '1_0' | int ; '3.7' | int ; '-3.7' | int ; 3.9 | int ; -3.9 | int ; 'x' | int ; 'x' | int(5) ; 'x' | int(default=7) ; none | int ; true | int ; '0x1f' | int(0, 16) ; '1e3' | int ; big | int ; undefined_name | int ; '' | int ; 'inf' | int ; '12' | float ; 'x' | float ; '1e3' | float ; true | float ; none | float(1) ; '٣' | int ; [] | int ; 1e300 | int ; '3.' | float ; '.5' | float ; '1_0.5' | float ; 3 | float
none | string ; true | string ; words | string ; nested.x | string ; 1.0 | string ; undefined_name | string ; 'a' | string ; (1,) | string
3 | abs ; -3.5 | abs ; true | abs ; 'a' | abs ; -0.0 | abs ; 2.5 | round ; 3.5 | round ; 2.567 | round(2) ; 7 | round ; -2.5 | round ; 2.4 | round(0, 'ceil') ; 2.6 | round(method='floor') ; 3 | round(method='ceil') ; '3' | round ; 0.5 | round ; -0.4 | round
numbers | sum ; rows[:3] | sum(attribute='n') ; rows | sum(attribute='n') ; [] | sum ; words | sum ; [[1], [2]] | sum(start=[]) ; [0.1, 0.2] | sum ; numbers | max ; numbers | min ; words | max ; words | min ; [] | max ; mixed | max ; rows[:3] | max(attribute='n') ; words | max(true) ; [1, 1.0] | max ; [1.0, 1] | min
words | map('upper') | list ; words | map('upper') ; rows | map(attribute='n') | list ; rows | map(attribute='n', default=0) | list ; rows | map(attribute='q.r') | list ; [[1, 2], [3]] | map('first') | list ; [[1, 2], [3]] | map('join', '-') | list ; words | map('replace', 'a', 'x') | join ; [' a '] | map('trim') | list ; [[1, 2]] | map(attribute=1) | list ; [[1, 2]] | map(attribute='1') | list ; words | map | list ; words | map('nothing') | list ; mixed | map('string') | list ; [{'a': {'b': 1}}] | map(attribute='a.b') | list ; words | map('default', 'x') | list ; 'ab' | map('upper') | list ; [{'a': none}] | map(attribute='a', default=1) | list
messages | selectattr('role', 'equalto', 'user') | list | length ; messages | selectattr('role', 'eq', 'user') | map(attribute='role') | join ; messages | selectattr('role', '==', 'user') | list | length ; messages | selectattr('tool_calls') | list | length ; messages | selectattr('tool_calls', 'defined') | list | length ; messages | rejectattr('role', 'in', ['user', 'system']) | map(attribute='role') | list ; messages | selectattr('role', 'equalto', 'nobody') ; messages | selectattr('role', 'equalto', 'nobody') | length ; (messages | selectattr('role', 'equalto', 'nobody')) and 1 ; messages | selectattr('role', 'equalto', 'nobody') | list and 1 ; messages | selectattr('role', 'ne', 'user') | first ; mixed | select('string') | list ; mixed | reject('none') | list ; mixed | select('number') | list ; [0, 1, '', 'a'] | select | list ; [0, 1] | reject | list ; numbers | select('gt', 1) | list ; numbers | select('odd') | list ; rows | selectattr('n', 'undefined') | list ; rows | selectattr('n', 'gt', 1) | list ; words | select('in', 'abc') | list ; rows | selectattr('n', '>', 1) | list ; rows | select('nothing') | list ; [1, 2] | select('divisibleby', 2) | list ; rows | rejectattr('t', 'lower') | list ; words | selectattr | list ; words | select('eq', 'a') | list | tojson
undefined_name | default('x') ; none | default('x') ; none | default('x', true) ; '' | d('x', true) ; '' | default('x', boolean=true) ; undefined_name | default ; nested.q | default(5) ; nested.q.r | default(5) ; 0 | default(3, true) ; undefined_name | default(default_value=2) ; false | default('x')
nested | items | list ; undefined_name | items | list ; nested | dictsort ; {'b': 1, 'A': 2} | dictsort ; {'b': 1, 'A': 2} | dictsort(true) ; {'b': 1, 'A': 2} | dictsort(by='value') ; {'b': 1, 'A': 2} | dictsort(false, 'key', true) ; {'b': 'x', 'a': none} | dictsort(by='value') ; nested | list ; 'ab😀' | list ; nested.items() | list | first ; range(3) | list ; none | list ; 5 | list ; undefined_name | list ; (1, 2) | list
lines | indent ; lines | indent(2) ; lines | indent(2, true) ; lines | indent(2, first=true, blank=true) ; 'a\nb' | indent('> ') ; '' | indent ; 'a\n' | indent ; 'a\n\n' | indent(1, true) ; 5 | indent ; none | indent ; lines | indent(width=1)
'<a>' | safe ; ('<a>' | safe) ~ '<b>' ; '<a>' | escape ; '<a>' | e ; '<a>' | forceescape ; 'a b' | urlencode ; 'a b c' | wordcount ; 'abc' | center(9) ; 'abcdefgh' | truncate(5) ; words | batch(2) | list ; words | slice(2) | list ; rows | groupby('n') | list ; 1000 | filesizeformat ; '<p>x</p>' | striptags ; nested | pprint ; words | random | length ; 'a b' | wordwrap(1) ; '%s' | format(1) ; nested | xmlattr ; 'a' | nothing ; [1] | attr('x') ; none | safe
none is none ; undefined_name is none ; undefined_name is defined ; undefined_name is not defined ; nested.q is defined ; nested.q is undefined ; nested.x.q.r is defined ; none is defined ; 'a' is string ; 1 is string ; none is string ; 1 is number ; true is number ; 1.0 is number ; '1' is number ; 1 is integer ; true is integer ; 1.0 is integer ; 1.0 is float ; true is boolean ; 1 is boolean ; words is iterable ; 'a' is iterable ; nested is iterable ; none is iterable ; 1 is iterable ; undefined_name is iterable ; range(3) is iterable ; nested.items() is iterable ; words | map('upper') is iterable ; words is sequence ; 'a' is sequence ; nested is sequence ; undefined_name is sequence ; (1,) is sequence ; nested.items() is sequence ; words | select is sequence ; range(2) is sequence ; none is sequence ; nested is mapping ; words is mapping ; undefined_name is mapping ; messages[0] is mapping
true is true ; 1 is true ; false is false ; 0 is false ; none is false ; 3 is odd ; 4 is even ; 4.0 is even ; 'a' is even ; -3 is odd ; 6 is divisibleby 3 ; 6 is divisibleby(4) ; 6 is divisibleby 0 ; 1 is eq 1.0 ; 1 is equalto(1) ; 1 is ne 2 ; 1 is lt 2 ; 1 is lessthan(2) ; 2 is ge 2 ; 2 is gt(1) ; 'a' is in 'abc' ; 'a' is in ['a'] ; 'a' is not in ['a'] ; 'a' is == 'a' ; 'abc' is lower ; 'ABC' is upper ; 'aB' is lower ; '1' is lower ; 'ß' is lower ; 1 is lower ; none is sameas none ; true is sameas true ; 1 is sameas 1 ; words is sameas words ; nested.get is callable ; 1 is callable ; range is callable ; 'a' is escaped ; 'upper' is filter ; 'upper' is test ; 1 is nothing ; not 1 is none ; 1 is not none and 2 ; 1 is none or 2 ; 1 is string is boolean ; 'a' is string and 'b' is string ; 4 is divisibleby 2 and true ; -3 is number ; 'a' | upper is upper ; 2 is eq 1 + 1
range(3) ; range(1, 4) | list ; range(5, 0, -2) | list ; range(0) | list ; range(3, 1) ; range(1, 9, 3) ; range(100001) | length ; range(1.5) ; range(0, 4, 0) ; range(3) == range(3) ; range(3) == [0, 1, 2] ; range(true) | list ; range() ; dict(a=1, b=2) ; dict({'a': 1}, b=2) ; dict([('a', 1), ['b', 2]]) ; dict(**{'a': 1}) ; dict(a=1).a ; dict.fromkeys(['a']) ; namespace(a=1).a ; namespace({'a': 2}).a ; namespace(a=1)['a'] ; namespace(_a=1) ; namespace().nothing ; namespace() ; lipsum() ; cycler('a', 'b').next() ; joiner(', ')() ; self ; raise_exception('no') ; raise_exception() ; strftime_now ; strftime_now('%% x') ; range ; range.x ; dict() ; caller ; varargs ; kwargs ; loop ; super ; messages.0.role ; add_generation_prompt ; documents ; tools is defined ; bos_token ~ '|' ; pad_token ; true.real ; f.is_integer() ; f.nothing
"""

TEMPLATES = r"""
{% for m in messages %}{{ m.role }}{% if loop.first %}{% continue %}{% endif %}!{% endfor %}
{% for m in messages %}{{ m.role }}{% if loop.index == 2 %}{% break %}{% endif %},{% endfor %}.
{% for i in range(3) %}a{{ i }}{% for j in range(3) %}b{{ j }}{% if j == 1 %}{% break %}{% endif %}c{% endfor %}d{% endfor %}
{% for i in range(3) %}{% continue %}{% else %}else{% endfor %}|{% for i in range(3) %}x{% break %}{% else %}else{% endfor %}|{% for i in [] %}{% else %}else{% endfor %}|{% for i in range(2) %}{% if i %}{% continue %}{% endif %}{% else %}else{% endfor %}
{% break %}
{% macro f() %}{% break %}{% endmacro %}{% for i in range(2) %}{{ f() }}{% endfor %}
{% for i in range(2) %}{% if x is defined %}old{{ x }}{% endif %}{% set x = i %}{{ x }}{% endfor %}{{ x is defined }}
{% set x = 1 %}{% for i in range(2) %}{{ x }}{% set x = x + 1 %}{{ x }}{% endfor %}{{ x }}
{% set x = 1 %}{% if true %}{% set x = 2 %}{% endif %}{{ x }}
{% set x = 1 %}{% for i in range(2) %}{% if i == 0 %}{% set x = 5 %}{% endif %}{{ x }}{% endfor %}{{ x }}
{% set messages = messages[1:] %}{{ messages | length }}{% for messages in [1] %}{{ messages }}{% endfor %}{{ messages | length }}
{% for m in messages %}{% set messages = 1 %}{{ messages }}{% endfor %}{{ messages | length }}
{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + m.content | length %}{% endfor %}{{ ns.n }}{% set ns.q = none %}{{ ns.q }}{{ ns.z is defined }}
{% set x.y = 1 %}
{% set nested.y = 1 %}
{% set ns = namespace() %}{% set ns._x = 1 %}
{% set a, b = 1, 'x' %}{{ a }}{{ b }}{% set (c, d) = [2, 3] %}{{ c }}{{ d }}{% set e = 1, 2 %}{{ e }}
{% set a, b = 1 %}
{% set a, b = [1, 2, 3] %}
{% set a, b = 'xy' %}{{ b }}{{ a }}
{% set x %} b{{ 1 }} {% endset %}[{{ x }}]{% set y | upper | trim %} q {% endset %}[{{ y }}]
{% set x = true %}{{ x }}{% set x = [x, 1.0, none] %}{{ x }}
{% for k, v in nested.items() %}{{ k }}={{ v }};{% endfor %}
{% for k, v in nested | dictsort %}{{ k }}={{ v }};{% endfor %}
{% for k in nested %}{{ k }}{% endfor %}{% for c in 'a😀' %}[{{ c }}]{% endfor %}{% for x in undefined_name %}x{% endfor %}
{% for x in none %}{% endfor %}
{% for x in 5 %}{% endfor %}
{% for a, b in [[1, 2], (3, 4), 'xy'] %}{{ a }}-{{ b }};{% endfor %}
{% for a, b in [[1, 2, 3]] %}{% endfor %}
{% for a, (b, c) in [[1, [2, 3]]] %}{{ a }}{{ b }}{{ c }}{% endfor %}
{% for m in messages if m.role == 'assistant' %}{{ loop.index }}/{{ loop.length }}{{ loop.first }}{{ loop.last }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.index0 }};{% else %}none{% endfor %}
{% for m in messages if m.nothing %}{% else %}none{% endfor %}
{% for m in messages if loop.first %}x{% endfor %}
{% for m in messages %}{{ loop.previtem.role if loop.previtem is defined else 'start' }}>{{ m.role }}>{{ loop.nextitem.role | default('end') }};{% endfor %}
{% for m in messages %}{{ loop.previtem.role }}{% endfor %}
{% for i in range(3) %}{{ loop.cycle('a', 'b') }}{{ loop.depth }}{{ loop.depth0 }}{% for j in range(1) %}{{ loop.depth }}{% endfor %}{% endfor %}
{% for i in [1, 1, 2, 2, 1] %}{% if loop.changed(i) %}{{ i }}{% endif %}{% endfor %}
{% for i in range(2) %}{% set outer = loop %}{% for j in range(2) %}{{ outer.index }}{{ loop.index }};{% endfor %}{% endfor %}
{% for i in range(2) %}{{ loop.nothing }}x{% endfor %}
{% for i in range(2) %}{{ loop }}{% endfor %}
{% for i in [1] %}{{ loop is iterable }}{{ loop | length }}{{ loop is defined }}{% endfor %}{{ loop is defined }}
{% for i in [[1, [2]]] recursive %}{{ i }}{% endfor %}
{% for x in words | map('upper') %}{{ x }}{{ loop.last }}{% endfor %}
{% set g = words | map('upper') %}{{ g | first }}{{ g | list }}{{ g | list }}
{% set g = messages | selectattr('role', 'equalto', 'x') %}{% if g %}yes{% endif %}{% for x in g %}{% else %}empty{% endfor %}
{% set g = words | select %}{{ 'A' in g }}{{ 'A' in g }}{{ g | list }}
{% macro f(a, b=2, c=a) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ f(1) }}|{{ f(1, 3) }}|{{ f(b=5, a=4) }}|{{ f() }}|
{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, 2) }}
{% macro f(a) %}{{ a }}{% endmacro %}{{ f(b=2) }}
{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, a=2) }}
{% macro f(a) %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1, 2, 3, x=4) }}
{% macro f() %}{{ x }}{% endmacro %}{% set x = 1 %}{{ f() }}{% for i in [1] %}{% set x = 2 %}{{ f() }}{% endfor %}{% set x = 3 %}{{ f() }}
{% set x = 0 %}{% macro f() %}{{ x }}{% set x = 9 %}{{ x }}{% endmacro %}{{ f() }}{{ x }}
{% for i in range(2) %}{% macro f() %}{{ i }}{% endmacro %}{{ f() }}{% endfor %}{{ f is defined }}
{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(3) }}
{% macro f() %}a{% endmacro %}{{ f() ~ f() | upper }}{{ (f() | length) + 1 }}{{ f }}
{% macro f() %}a{% endmacro %}{{ f.name }}
{% macro f() %}<{{ caller() }}>{% endmacro %}{% call f() %}x{{ messages | length }}{% endcall %}
{% macro f(x) %}{{ caller(x, 2) }}{% endmacro %}{% call(a, b=3) f(1) %}{{ a }}{{ b }}{% endcall %}
{% macro f() %}{{ caller is defined }}{{ caller }}{% endmacro %}{{ f() }}
{% macro f() %}x{% endmacro %}{% call f() %}y{% endcall %}
{% macro f(t) %}{% for x in t %}{{ loop.index }}{{ caller(x) }}{% endfor %}{% endmacro %}{% for y in [7] %}{% call(x) f([1, 2]) %}{{ x }}{{ y }}{{ loop.index }};{% endcall %}{% endfor %}
{% for i in range(2) %}{{ text }}|{% endfor %}{% set text = 1 %}{{ text }}
{{ text }}{% for i in range(2) %}{{ text }}|{% endfor %}{% set text = 1 %}
{% for i in range(2) %}{{ text }}|{% endfor %}{% set text = text ~ 1 %}{{ text }}
{% for i in range(2) %}{{ text }}|{% endfor %}{% if no %}{% set text = 1 %}{% endif %}{{ text }}
{% for i in range(2) %}{{ text }}|{% endfor %}{% if no %}{{ text }}{% endif %}{% set text = 1 %}
{% for i in range(2) %}{% for j in range(2) %}{{ text }}|{% endfor %}{% set text = i %}{% endfor %}
{% for i in range(2) %}{% for j in range(2) %}{{ text }}|{% endfor %}{% set text = i %}{% endfor %}{{ text }}
{% for text in words if text %}{% with %}{{ text }}{% set text = 1 %}{{ text }}{% endwith %}{% endfor %}
{% for i in [text] if text %}{{ i }}{% set text = 1 %}{% else %}{{ text }}{% endfor %}{% set text = 2 %}
{% macro a() %}{{ text }}|{% endmacro %}{{ a() }}{% set text = 1 %}{{ a() }}
{% macro text(n) %}{{ n }}{% if n %}{{ text(0) }}{% endif %}{% endmacro %}{{ text(1) }}
{% with a = text %}{{ a }}{{ text }}|{% endwith %}{% set text = 1 %}
{% filter upper %}{{ text }}|{% endfilter %}{% set text %}{{ text }}x{% endset %}{{ text }}
{% filter replace('a', text) %}{% set text = 1 %}banana{% endfilter %}
{% set x | replace('a', text) %}{% set text = 1 %}banana{% endset %}{{ x }}{{ text }}
{% generation %}{{ text }}|{% endgeneration %}{% set text = 1 %}{% generation %}{{ text }}{% endgeneration %}
{% macro a() %}<{{ caller() }}>{% endmacro %}{% call a() %}{{ text }}{% endcall %}{% set text = 1 %}{% call a() %}{{ text }}{% endcall %}
{% for i in range(2) %}{{ range(2) is defined }}{% endfor %}{% set range = 1 %}
{% macro a(text=text, n=words, words=1) %}{{ text }}|{{ n }}|{{ words }};{% endmacro %}{{ a() }}{{ a(words=2) }}{{ a(n=none, text=3) }}
{% filter upper %}abc{{ text }}{% endfilter %}{% filter trim | replace('a', 'b') %} aa {% endfilter %}
{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}{{ a is defined }}{% set a = 5 %}{% with b = a %}{% set a = 6 %}{{ b }}{{ a }}{% endwith %}{{ a }}{% with %}{{ a }}{% endwith %}
{% print 1, 2 %}
{{ 1, 2 }}
{% do 1 %}
{% include 'x' %}
{% import 'x' as y %}
{% extends 'x' %}
{% block a %}x{% endblock %}
{% autoescape true %}{{ '<' }}{% endautoescape %}
{% trans %}x{% endtrans %}
{% debug %}
{% nothing %}
{% if %}{% endif %}
{{ 1
{{ }}
{{ 'abc }}
{{ (1 }}
{{ [1, 2 }}
{{ 1) }}
{{ a.b. }}
{{ a..b }}
{{ ! }}
{{ a ? b : c }}
{{ a && b }}
{{ [1 2] }}
{{ {'a' 1} }}
{{ f(a=1, 2) }}
{{ 'a' if }}
{% for in x %}{% endfor %}
{% set true = 1 %}
{% set 1 = 2 %}
{% else %}
{% raw %}{{ x }}{% if %}{# c #}{% endraw %}{% raw -%}  a  {%- endraw %}|  {%- raw %} b {% endraw -%}  c
{# comment {{ x }} {% if %} #}a{#- b -#}  c  {#- d #}  e{##}f{#-#}  g
  {# indented #}
  x
  {%- if true %}  a  {%- endif %}  b
  {%+ if true %}  a{% endif +%}
x {% if true %} y {% endif %} z
{%- set x = {'a': {'b': 1}} %}{{ x }}{{ {'a': {'b': 2}} }}{{ {'a': {'b': 2}}.a.b }}
{{ '%}' }}{{ '}}' }}{% if '%}' %}ok{% endif %}{{ "{{" }}{{ '{#' }}{{ '#}' }}
{{'a'-}}  {{-'b'}}{{-1}}{{ -1 }}{{- -1 }}{{+1}}
{{ 1 -1 }}{{ 1-1 }}{{ words|length-1 }}{{ words[-1] }}{{ -words|length }}
{% generation %}x{% endgeneration %}a{% for m in messages %}[{{ m.role }}]{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}
a {%- generation -%}  😀x  {%- endgeneration -%}  b
{% macro f() %}q{% generation %}x{% endgeneration %}{% endmacro %}a{{ f() }}
{% set x %}q{% generation %}x{% endgeneration %}{% endset %}a{{ x }}
{% set x = 1 %}{% generation %}{% set x = 2 %}{{ x }}{% set y = 3 %}{% endgeneration %}{{ x }}{{ y is defined }}
{% for i in range(3) %}{% generation %}{{ i }}{% if i == 1 %}{% break %}{% endif %}{% endgeneration %}{% endfor %}
{% for i in range(3) %}{% generation %}{{ i }}{{ loop.index }}{% endgeneration %}{% if i == 1 %}{% break %}{% endif %}-{% endfor %}
{% generation %}a{% generation %}b{% endgeneration %}{% endgeneration %}
{% if messages[0].role == 'system' %}{% set s = messages[0].content | trim %}{% set rest = messages[1:] %}{% else %}{% set rest = messages %}{% endif %}{{ s }}{{ rest | length }}
{{ messages[0].content.strip().split(' ')[0].lower() ~ (messages | map(attribute='role') | unique | join(',')) }}
{% for m in messages[::-1] %}{{ m.role[0] }}{{ loop.index0 }}{% endfor %}
{% for m in messages | reverse %}{{ m.role[0] }}{{ loop.index0 }}{% endfor %}
{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles ' ~ loop.index) }}{% endif %}{% endfor %}
{% if tools %}{% for t in tools %}{{ t.function.name }}: {{ t.function.parameters | tojson(indent=4) }}{% endfor %}{% endif %}{% if documents %}d{% endif %}{{ documents is none }}{{ documents is defined }}
{{ bos_token }}{{ eos_token }}{% if pad_token is defined %}p{% endif %}{% if not date_string is defined %}{% set date_string = '1 Jan' %}{% endif %}{{ date_string }}
{% set x = words + ['z'] %}{% set _ = 1 %}{{ x | length }}{{ _ }}{% set ns = namespace(l=[]) %}{% for w in words %}{% set ns.l = ns.l + [w] %}{% endfor %}{{ ns.l }}
{% set ns = namespace(found=false) %}{% for m in messages %}{% if m.role == 'tool' %}{% set ns.found = true %}{% endif %}{% endfor %}{{ ns.found }}{{ not ns.found }}
{% set d = dict(a=1) %}{% set d = dict(d, b=2) %}{{ d }}{{ d.b }}{% for k in d %}{{ k }}{% endfor %}
{% set message = messages[1] %}{{ message['content'][:3] + '...' if message['content'] | length > 3 else message['content'] }}
{% if messages[1].content is string and messages[1].content is not mapping and messages[1].content is iterable %}s{% endif %}{{ messages[1].n }}{{ messages[1].n + 1 }}{{ messages[1].n == 1 }}
{% set x = 3 %}{{ x if x is odd else 'even' }}{{ 'a' if x > 2 and not x == 4 else 'b' }}{{ x|string + 'px' }}{{ (x * 1.0)|string }}{{ x / 1 }}
{{ none }}{{ messages[0].nothing }}{{ [messages[0].nothing] }}{{ none ~ messages[0].nothing }}|{{ true ~ false }}{{ {'a': true}.a }}{{ 'x' if messages[0].nothing is none else 'y' }}
"""

# Of several lines each.
SEVERAL = r"""  {% if true %}
a
  {% endif %}
b
===
x
  {%- if true %}
  a
  {%- endif %}

c
===
{% for m in messages %}
  {{ m.role }}
    {# note #}
  {% if loop.last %}

last
  {% endif %}
{% endfor %}

===
a  {% if true %}  
  b{% endif %}
 {%+ if true +%}
 c
{% endif %}
===
{%- raw %}
 {{ a }}
{% endraw +%}
x
===
{% if true %}{{ 'a' }}
{% endif %}
{{ 'b' }}

===
{% set x %}

 q
{% endset %}
[{{ x }}]
===
{% macro f(a) -%}
  {{ a }}
{%- endmacro %}
{{ f(1) }}
{{- f(2) -}}
  z
===
a{# c #}
b
  {#- c -#}
d
{#
 multi
#}
e
===
{{ 'one
two' }}
===
{{
  'a'
  ~ 'b'
}}{%
 if true
%}x{%
endif
%}
===
{%- for message in messages %}
    {%- if message.role == 'user' %}
        {{- '<|user|>\n' ~ message.content ~ '\n' }}
    {%- elif message.role == 'assistant' and message.tool_calls %}
        {%- for call in message.tool_calls %}
            {{- '<call>' + (call.function.arguments | tojson) + '</call>' }}
        {%- endfor %}
    {%- else %}
        {{- '<|' + message.role + '|>' }}
    {%- endif %}
{%- endfor %}
===
{% raw %}
x
{% endraw %}
y
===
c
	{% if true %}
  text
	{% endif %}
end
{% if true -%}

   a

{%- endif %}

b
===
{{ 'a' }}
{{ 'b' -}}

   {{- 'c' }}
  {{ 'd' }}   
===
{{ '#}
' }}{{ '-%}
' }}{{ '%}
' }}
===
a
  {% generation %}
  b
  {% endgeneration %}
c
===
{% generation %}
a
{% endgeneration %}
b{%- generation -%}
 c {% endgeneration -%}

d
"""


def white_space(draw):
    """Text and tags with any white space and signs around them."""
    def piece(depth):
        sign = lambda: draw.choice(["", "", "-", "+"])
        tag = lambda name: "{%" + sign() + draw.choice([" ", ""]) + name + draw.choice([" ", "\n"]) + sign() + "%}"
        kind = draw.randrange(8 if depth < 3 else 6)
        if kind < 3:
            return "".join(draw.choice([" ", "\n", "a", "\t", "\n\n", "b\n", "\xa0", "\x0b"]) for _ in range(draw.randrange(1, 4)))
        if kind == 3:
            return "{{" + sign() + " 1 " + draw.choice(["", "-"]) + "}}"
        if kind == 4:
            return "{#" + sign() + draw.choice([" c ", "", "\n"]) + sign() + "#}"
        inner = "".join(piece(depth + 1) for _ in range(draw.randrange(4)))
        if kind == 5:
            return tag("raw").replace("+%}", "%}") + "{{ x }} \n" + tag("endraw")
        name = "generation" if kind == 7 and depth == 0 else "if true"
        return tag(name) + inner + tag("endgeneration" if name == "generation" else "endif")
    return "".join(piece(0) for _ in range(draw.randrange(2, 7)))


def templates():
    for line in EXPRESSIONS.replace("\\\n", "\\\x00").strip().split("\n"):
        for expression in line.replace("\\\x00", "\\\n").split(" ; "):
            yield "{{ " + expression.strip(" ") + " }}"
    yield from TEMPLATES.strip("\n").split("\n")
    yield from SEVERAL.split("===\n")
    draw = random.Random(1)
    for _ in range(300):
        yield white_space(draw)


def outcome(template):
    chat = json.loads(json.dumps(CHAT))
    try:
        [text], spans = render_jinja_template(
            [chat["messages"]], tools=chat["tools"], chat_template=template, return_assistant_tokens_mask="generation" in template,
            bos_token="<s>", eos_token="</s>", **chat["variables"])
    except Exception:
        return None
    if " at 0x" in text:
        return None
    return {"text": text, "generated": [text[start:end] for span in spans for start, end in span]}


if __name__ == "__main__":
    found = [{"template": template, "expected": outcome(template)} for template in dict.fromkeys(templates())]
    # CRLF as well, where there is more than one line.
    for template in SEVERAL.split("===\n"):
        found.append({"template": template.replace("\n", "\r\n"), "expected": outcome(template.replace("\n", "\r\n"))})
    print(json.dumps({"chat": json.dumps(CHAT), "templates": found}, indent=0))
