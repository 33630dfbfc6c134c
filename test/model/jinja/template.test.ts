/** Templates construct by construct: what transformers writes (test/golden/make/templates.py) is written, or refused by name. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fromJson, parseExact } from '../../../model/jinja/exact-json.ts';
import { strftime } from '../../../model/jinja/strftime.ts';
import { str } from '../../../model/jinja/text.ts';
import { type Chat, ChatTemplate } from '../../../model/tokenizer/chat-template.ts';
import { OperatingError } from '../../../proto/operating-error.ts';
import { goldenFiles } from '../../support/onebyte.ts';

interface Golden {
  /** JSON text, since Python tells 1 and 1.0 apart. */
  readonly chat: string;
  readonly templates: readonly {
    readonly template: string;
    /** Null where Python refuses. */
    readonly expected: { readonly text: string; readonly generated: readonly string[] } | null;
  }[];
}
const golden: Golden = JSON.parse(readFileSync(join(goldenFiles, 'templates.json'), 'utf8'));
const TOKENS = { bos_token: '<s>', eos_token: '</s>', pad_token: null };

/** What is written, or why nothing is. */
function outcome(template: string, chat: Chat): { text: string; generated: string[] } | string {
  try {
    const { text, generated } = new ChatTemplate('x.jinja', template, TOKENS).render(chat);
    return { text, generated: generated.map(([start, end]) => text.slice(start, end)) };
  } catch (error) {
    assert(error instanceof OperatingError && error.exitCode === 2, `${template}: ${(error as Error).stack}`);
    return error.message;
  }
}

describe('a template', () => {
  it('writes what transformers writes, or is refused by the name of what is not computed', () => {
    const chat = parseExact(golden.chat) as Chat;
    const counts = { equal: 0, refusedHere: 0, refusedByBoth: 0 };
    for (const { template, expected } of golden.templates) {
      const got = outcome(template, chat);
      if (expected === null) {
        assert.equal(
          typeof got,
          'string',
          `${JSON.stringify(template)} writes ${JSON.stringify(got)}, Python refuses it`,
        );
        counts.refusedByBoth++;
      } else if (typeof got === 'string') {
        assert.match(got, /^x\.jinja: the chat template: line \d+: .* (is|are) not computed here/, template);
        counts.refusedHere++;
      } else {
        assert.deepEqual(got, expected, JSON.stringify(template));
        counts.equal++;
      }
    }
    // Filters, tests and methods that chat templates do not use; see the names in the golden.
    assert(counts.refusedHere < 70 && counts.equal > 1000, JSON.stringify(counts));
  });

  it('is refused by the line and the construct that is not computed', () => {
    const chat = { messages: [] };
    assert.equal(
      outcome('a\n{{ "x"\n | wordcount }}', chat),
      'x.jinja: the chat template: line 2: the filter wordcount is not computed here',
    );
    assert.equal(
      outcome('{% if true %}\n\n{% import "x" as y %}{% endif %}', chat),
      'x.jinja: the chat template: line 3: the tag {% import %} is not computed here',
    );
  });

  it('cannot take up memory or a long time in one operation', () => {
    const tooLarge = [
      "{{ 'a' * 10 ** 9 }}",
      '{{ 10 ** (10 ** 9) }}',
      '{{ [1] * 10 ** 8 }}',
      "{{ 'a'.zfill(10 ** 12) }}",
    ];
    for (const template of tooLarge) assert.equal(typeof outcome(template, { messages: [] }), 'string', template);
  });
});

describe('JSON', () => {
  it('keeps what a template can tell apart: floats, large ints, the order of keys', () => {
    const text =
      '{"b": 1.0, "10": -0.0, "2": 12345678901234567890, "a": [1e2, 1, -7, 0.5], "\\u0031": {"k\\"1": "1.0"}, "__proto__": 1}';
    assert.equal(
      str(fromJson(parseExact(text))),
      `{'b': 1.0, '10': -0.0, '2': 12345678901234567890, 'a': [100.0, 1, -7, 0.5], '1': {'k"1': '1.0'}, '__proto__': 1}`,
    );
    assert.deepEqual(parseExact('{"messages": [{"content": "1.0", "n": 2}]}'), {
      messages: [{ content: '1.0', n: 2 }],
    });
    assert.throws(() => parseExact('{"a": 01}'), SyntaxError);
  });

  it('may have a text of as many characters as a line has bytes', () => {
    for (const text of ['a'.repeat(2 ** 24), '\\u00e9'.repeat(2 ** 21), '\\\\'.repeat(2 ** 22), '1'.repeat(2 ** 24)]) {
      const value: unknown = JSON.parse(`"${text}"`);
      assert.deepEqual(
        fromJson(parseExact(`{"2": 1.0, "1": "${text}"}`)),
        new Map<string, unknown>([
          ['2', 1],
          ['1', value],
        ]),
      );
    }
  });
});

describe('a date', () => {
  // python -c 'import datetime; print(datetime.datetime(2024, 7, 6, 15, 4, 5).strftime("…"))'
  it('is written as Python writes it, in English wherever it is', () => {
    const date = new Date(2024, 6, 6, 15, 4, 5);
    assert.equal(
      strftime(date, '%Y-%m-%d %H:%M:%S|%d %b %Y|%A %B %-d|%a %y %j %I %p|%F %T|%%d %-m'),
      '2024-07-06 15:04:05|06 Jul 2024|Saturday July 6|Sat 24 188 03 PM|2024-07-06 15:04:05|%d 7',
    );
    assert.equal(strftime(new Date(2024, 11, 31, 0, 0, 0), '%j %I %p %-I'), '366 12 AM 12');
    assert.throws(() => strftime(date, '%c'), /%c of a date is not computed here/);
  });

  it('is today to strftime_now', () => {
    const before = strftime(new Date(), '%d %b %Y');
    const { text } = outcome("{{ strftime_now('%d %b %Y') }}", { messages: [] }) as { text: string };
    assert([before, strftime(new Date(), '%d %b %Y')].includes(text), text);
  });
});
