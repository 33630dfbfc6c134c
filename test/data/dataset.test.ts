/** Data files to token rows: every form, what is refused by line number, and how rows are fitted. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import seedrandom from 'seedrandom';
import { type Dataset, readDataset } from '../../data/dataset.ts';
import { readTsv } from '../../data/tsv.ts';
import { completionRow } from '../../model/token-row.ts';
import { type EncodedRow, encodeRows, loadTokenizer, type Tokenizer } from '../../model/tokenizer/tokenizer.ts';
import { OperatingError } from '../../proto/operating-error.ts';
import type { DataRules } from '../../proto/run-config.ts';
import { mutated } from '../support/mutate.ts';
import { goldenFiles, tinyReviews } from '../support/onebyte.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const tiny = await loadTokenizer(join(tinyReviews, 'model'));
/** Puts a special token first. */
const llama = await loadTokenizer(join(goldenFiles, 'models/llama'));
after(() => {
  tiny.close();
  llama.close();
});
const idsOf = async (text: string) => (await tiny.encode([text]))[0]?.ids;
const encodeRow = async (tokenizer: Tokenizer, prompt: string, completion: string) =>
  ((await encodeRows(tokenizer, [{ prompt, options: [completion] }]))[0] as EncodedRow[])[0]!;
const RULES: DataRules = { maxLength: 64, appendEos: false };
const SST2 = { ...RULES, template: '{sentence} It was', verbalizers: [' terrible', ' great'] };

function dataFile(content: string | Uint8Array, name = 'rows.jsonl'): string {
  const file = join(temporaryDirectory(), name);
  writeFileSync(file, content);
  return file;
}
const jsonl = (...rows: unknown[]): string => rows.map((row) => JSON.stringify(row)).join('\n');
const plain = { prompt: 'It was', completion: ' great' };
const choice = { prompt: 'It was', options: [' terrible', ' great'], label: 1 };

describe('a data file', () => {
  it('of prompts and completions gives one option per row, which is right', async () => {
    const { examples, ...rest } = await readDataset(dataFile(jsonl(plain)), tiny, RULES);
    const { ids, labels } = await encodeRow(tiny, 'It was', ' great');
    const whole = { truncated: false, merged: false };
    assert.deepEqual(examples, [{ line: 1, options: [{ ids, labels }], right: 0, classified: false, ...whole }]);
    assert.deepEqual(rest, { truncated: 0, merged: 0 });
  });

  it('of options gives all of them, and which is right', async () => {
    const { examples } = await readDataset(dataFile(jsonl(choice, { ...choice, label: 0 })), tiny, RULES);
    assert.deepEqual(
      examples.map(({ line, right, classified }) => [line, right, classified]),
      [
        [1, 1, true],
        [2, 0, true],
      ],
    );
    const [rows] = (await encodeRows(tiny, [choice])) as EncodedRow[][];
    assert.deepEqual(
      examples[0]?.options.map(({ ids }) => ids),
      rows?.map(({ ids }) => ids),
    );
  });

  it('in the form of SST-2 gives the same rows as the JSON lines that say the same', async () => {
    const bySentence = await readDataset(join(tinyReviews, 'train.tsv'), tiny, SST2);
    assert.equal(bySentence.examples.length, 1000);
    const strip = ({ examples }: Dataset) => examples.map(({ line, ...example }) => example);
    assert.deepEqual(strip(bySentence), strip(await readDataset(join(tinyReviews, 'train.jsonl'), tiny, RULES)));
  });

  it('may have a byte order mark, CRLF, blank lines and no last line end; line numbers count all lines', async () => {
    const file = dataFile(`\ufeff${jsonl(plain)}\r\n\r\n  \n${jsonl(choice)}`);
    assert.deepEqual(
      (await readDataset(file, tiny, RULES)).examples.map(({ line }) => line),
      [1, 4],
    );
    const tsv = dataFile('\ufeffsentence\tlabel\r\n\r\ngood \t1\r\n', 'x.tsv');
    assert.deepEqual(
      (await readDataset(tsv, tiny, SST2)).examples[0]?.options[1]?.ids,
      await idsOf('good It was great'),
    );
  });

  it('of columns may have quotes as pandas writes them, and others', async () => {
    const prompts = async (name: string, text: string) => {
      const { examples } = await readDataset(dataFile(text, name), tiny, { ...SST2, template: '{sentence} It' });
      return examples.map(({ line, options }) => [line, options[0]?.ids]);
    };
    const rows = [
      [2, '"so" it goes'],
      [3, 'a, b'],
      [4, 'two\nlines,\n\nof "it"'],
      [8, 'plain'],
      [9, '"open'],
    ] as const;
    const expected = await Promise.all(rows.map(async ([line, text]) => [line, await idsOf(`${text} It terrible`)]));
    const cells = ['"""so"" it goes"', '"a, b"', '"two\nlines,\n\nof ""it"""', 'plain', '"open'];
    const csv = `sentence,label\n${cells
      .slice(0, -1)
      .map((cell) => `${cell},0`)
      .join('\n')}\n`;
    assert.deepEqual(await prompts('x.CSV', csv), expected.slice(0, -1));
    const tsv = `sentence\tlabel\n${cells.map((cell) => `${cell}\t0`).join('\n')}\n`;
    assert.deepEqual(await prompts('x.TSV', tsv), expected);
  });

  it('of columns keeps the line ends and the blank lines of a quoted cell', () => {
    const csv = dataFile('sentence,label\r\n\r\n"a\r\n  \r\nb\nc",1\r\nd,0\r\n', 'x.csv');
    const rows = [...readTsv(csv, { ...SST2, template: '{sentence}' }, ',')];
    assert.deepEqual(
      rows.map(({ line, row }) => [line, 'prompt' in row && row.prompt]),
      [
        [3, 'a\r\n  \r\nb\nc'],
        [7, 'd'],
      ],
    );
  });

  it('may have other columns and fields, dollar signs and braces', async () => {
    const tsv = dataFile("id\tlabel\ta\tb\n7\t0\t$& {b}\t$'\n", 'x.tsv');
    const { examples } = await readDataset(tsv, tiny, { ...SST2, template: '{b}-{a}-{b} It' });
    assert.deepEqual(examples[0]?.options[0]?.ids, await idsOf("$'-$& {b}-$' It terrible"));
    assert.equal((await readDataset(dataFile(jsonl({ ...plain, id: 'x' })), tiny, RULES)).examples.length, 1);
  });

  it('longer than a chunk, with lines across chunk borders, is read whole', async () => {
    const rows = Array.from({ length: 3000 }, (_, i) => ({
      prompt: `It was ${'é'.repeat(i % 40)} ${i}`,
      completion: ' x',
    }));
    const { examples } = await readDataset(dataFile(jsonl(...rows)), tiny, { ...RULES, maxLength: 4096 });
    assert.equal(examples.length, 3000);
    assert.deepEqual(examples[2999]?.options[0]?.ids, await idsOf(`${rows[2999]?.prompt} x`));
  });

  it('of which a shard is read gives the rows of that shard only, and all shards give all rows', async () => {
    const file = dataFile(jsonl(...Array.from({ length: 7 }, () => plain)));
    const lines = [0, 1, 2].map(async (shard) => {
      const { examples } = await readDataset(file, tiny, RULES, { shard, shards: 3 });
      return examples.map(({ line }) => line);
    });
    assert.deepEqual(await Promise.all(lines), [
      [1, 4, 7],
      [2, 5],
      [3, 6],
    ]);
    await assert.rejects(
      () => readDataset(file, tiny, RULES, { shard: 7, shards: 8 }),
      /7 rows, none of them in shard 7 of 8/,
    );
  });
});

describe('several data files', () => {
  it('are one after the other, in whatever forms, and shards go on from one to the next', async () => {
    const files = [dataFile(jsonl(plain, choice, plain)), dataFile('sentence\tlabel\nbad\t0\ngood\t1\n', 'x.tsv')];
    const { examples } = await readDataset(files, tiny, SST2);
    const lines = (read: Dataset) => read.examples.map(({ line, options }) => [line, options.length]);
    const all = [
      [1, 1],
      [2, 2],
      [3, 1],
      [2, 2],
      [3, 2],
    ];
    assert.deepEqual(lines({ examples, truncated: 0, merged: 0 }), all);
    for (const shard of [0, 1])
      assert.deepEqual(
        lines(await readDataset(files, tiny, SST2, { shard, shards: 2 })),
        all.filter((_, i) => i % 2 === shard),
      );
    await assert.rejects(() => readDataset([files[0]!, dataFile('', 'y.jsonl')], tiny, SST2), /y.jsonl: no rows/);
  });
});

describe('a row that is too long', () => {
  const long = { prompt: 'one two three four five It was', completion: ' great' };

  it('loses the left end of its prompt, and is counted', async () => {
    const whole = await encodeRow(tiny, long.prompt, long.completion);
    const { examples, truncated } = await readDataset(dataFile(jsonl(long, plain)), tiny, {
      ...RULES,
      maxLength: 6,
    });
    const row = examples[0]?.options[0];
    assert.equal(truncated, 1);
    assert.deepEqual(row?.ids, whole.ids.slice(-6));
    assert.deepEqual(
      row?.labels.map((label) => row.ids[label]),
      whole.labels.map((label) => whole.ids[label]),
    );
  });

  it('keeps the special token that the tokenizer puts first', async () => {
    const whole = await encodeRow(llama, long.prompt, long.completion);
    const completion = whole.labels.length;
    const { examples } = await readDataset(dataFile(jsonl(long)), llama, { ...RULES, maxLength: completion + 3 });
    assert.deepEqual(
      examples[0]?.options[0],
      completionRow([whole.ids[0]!, ...whole.ids.slice(whole.labels[0]! - 2)], 3),
    );
    const tight = await readDataset(dataFile(jsonl(long)), llama, { ...RULES, maxLength: completion + 1 });
    assert.equal(tight.examples[0]?.options[0]?.labels[0], 1);
    await assert.rejects(
      () => readDataset(dataFile(jsonl(plain, long)), llama, { ...RULES, maxLength: completion }),
      /rows.jsonl:1: the completion " great" has \d+ tokens, which do not fit data.maxLength/,
    );
  });

  it('loses its right end where it is plain text, from the token beyond data.maxLength on', async () => {
    const file = dataFile(jsonl({ text: 'It was one of the films of the year' }));
    const take = (maxLength: number) => readDataset(file, tiny, { ...RULES, maxLength });
    const whole = (await take(64)).examples[0]!.options[0]!;
    const { length } = whole.ids;
    for (const maxLength of [length, length - 1]) {
      const { examples, truncated } = await take(maxLength);
      const ids = whole.ids.slice(0, maxLength);
      const labels = ids.map((_, i) => i).slice(1);
      assert.deepEqual([examples[0]?.options, truncated], [[{ ids, labels }], length - maxLength]);
    }
  });

  it('is measured with its end-of-text token', async () => {
    const { examples } = await readDataset(dataFile(jsonl(plain)), tiny, { ...RULES, appendEos: true });
    assert.equal(examples[0]?.options[0]?.ids.at(-1), tiny.eosId);
    await assert.rejects(
      () => readDataset(dataFile(jsonl(plain)), tiny, { maxLength: 2, appendEos: true }),
      /has 2 tokens/,
    );
  });

  it('or whose tokens merge across the boundary is counted', async () => {
    const row = { prompt: 'It was a fil', completion: 'm' };
    assert.equal((await readDataset(dataFile(jsonl(row, plain)), tiny, RULES)).merged, 1);
  });
});

describe('a data file is refused', () => {
  const BAD: [name: string, content: string | Uint8Array, message: RegExp, file?: string][] = [
    ['empty', '', /rows.jsonl: no rows/],
    ['blank', '\n \r\n\ufeff', /rows.jsonl: no rows/],
    ['no JSON', `${jsonl(plain)}\n{`, /rows.jsonl:2: not JSON/],
    [
      'lists without end',
      `{"text":${'['.repeat(20000)}${']'.repeat(20000)}}`,
      /rows.jsonl:1: not JSON.*nested deeper than/,
    ],
    ['a number', '7', /rows.jsonl:1: expected one of .*\{"prompt", "completion"\}.* got 7/],
    ['null', 'null', /rows.jsonl:1: .*got null/],
    ['a list', '[]', /rows.jsonl:1: .*got \[\]/],
    ['no prompt', jsonl({ completion: 'x' }), /rows.jsonl:1: prompt .*got/],
    ['a prompt that is a number', jsonl({ prompt: 1, completion: 'x' }), /:1: prompt .*expected string/],
    ['no completion', jsonl({ prompt: 'x' }), /:1: completion .*expected string/],
    ['an empty completion', jsonl({ prompt: 'x', completion: '' }), /:1: completion Too small/],
    ['both forms', jsonl({ ...choice, completion: 'x' }), /:1: has both "options" and "completion"/],
    ['one option', jsonl({ ...choice, options: ['x'] }), /:1: options Too small/],
    ['an empty option', jsonl({ ...choice, options: ['x', ''] }), /:1: options.1 Too small/],
    ['no label', jsonl({ ...choice, label: undefined }), /:1: label/],
    ['a label beyond the options', jsonl({ ...choice, label: 2 }), /:1: label is beyond the last option/],
    ['a label with a fraction', jsonl({ ...choice, label: 0.5 }), /:1: label/],
    ['a label in words', jsonl({ ...choice, label: ' great' }), /:1: label/],
    ['not UTF-8', Buffer.concat([Buffer.from(`${jsonl(plain)}\n`), Buffer.of(0xff)]), /rows.jsonl:2: not valid UTF-8/],
    ['a row without context', jsonl({ prompt: '', completion: 'x' }), /:1: no token comes before the completion "x"/],
    ['a TSV row of another width', 'sentence\tlabel\na\t0\nb\n', /x.tsv:3: 1 columns, expected 2/, 'x.tsv'],
    ['a TSV file without the column', 'text\tlabel\na\t0\n', /x.tsv:1: no column "sentence"; .* text, label/, 'x.tsv'],
    ['a TSV file without labels', 'sentence\na\n', /x.tsv:1: no column "label"/, 'x.tsv'],
    ['a TSV file with a column twice', 'sentence\tlabel\tlabel\n', /x.tsv:1: two columns of one name/, 'x.tsv'],
    ['a TSV label in words', 'sentence\tlabel\na\tgood\n', /x.tsv:2: label is "good", expected .* 0 to 1/, 'x.tsv'],
    ['a TSV label beyond the verbalizers', 'sentence\tlabel\na\t2\n', /x.tsv:2: label is "2"/, 'x.tsv'],
    ['a TSV file of commas', 'sentence,label\na,0\n', /x.tsv:1: columns separated by commas, .* ends in .csv/, 'x.tsv'],
    ['a CSV file of tabs', 'sentence\tlabel\na\t0\n', /x.csv:1: columns separated by tabs, .* ends in .tsv/, 'x.csv'],
    ['a TSV file of JSON', jsonl(plain), /x.tsv:1: JSON, not columns; .* ends in .jsonl/, 'x.tsv'],
    ['a JSON file of columns', 'sentence\tlabel\na\t0\n', /rows.jsonl:1: not JSON.* a file of columns ends in .tsv/s],
    ['a JSON list', '[\n{}]', /rows.jsonl:1: not JSON.* one row a line/],
    [
      'a cell that never ends',
      'sentence,label\n"a b\nb,1\n',
      /x.csv:2: a quote that opens a cell is not closed/,
      'x.csv',
    ],
    ['a row too short, with a quote', 'sentence\tlabel\n"a b\nb\t1\n', /x.tsv:2: a quote that opens/, 'x.tsv'],
    ['a TSV header alone', 'sentence\tlabel\n', /x.tsv: no rows/, 'x.tsv'],
  ];
  for (const [name, content, message, file] of BAD)
    it(`when it is or has ${name}`, async () => {
      await assert.rejects(() => readDataset(dataFile(content, file), tiny, SST2), { name: 'OperatingError', message });
    });

  it('when it is not there, a directory, or a TSV file without rules', async () => {
    const directory = temporaryDirectory();
    await assert.rejects(() => readDataset(join(directory, 'x'), tiny, RULES), /x: cannot be read/);
    await assert.rejects(() => readDataset(directory, tiny, RULES), /cannot be read: it is a directory/);
    await assert.rejects(
      () => readDataset(join(tinyReviews, 'train.tsv'), tiny, RULES),
      /needs data.template and data.verbalizers/,
    );
    const nameless = { ...SST2, template: 'It was' };
    await assert.rejects(() => readDataset(join(tinyReviews, 'train.tsv'), tiny, nameless), /"It was" names no column/);
  });

  it('when a line is longer than 16 MiB, before it is read', async () => {
    const file = dataFile(Buffer.concat([Buffer.from('\n'), Buffer.alloc(2 ** 24 + 1, 'x')]));
    await assert.rejects(() => readDataset(file, tiny, RULES), /rows.jsonl:2: a line of more than 16777216 bytes/);
  });

  it('or read, whatever its bytes are (1,000 mutations)', async () => {
    const random = seedrandom('data');
    const directory = temporaryDirectory();
    const seeds = [jsonl(plain, choice), 'sentence\tlabel\ngood\t1\nbad\t0\n'].map((text) => Buffer.from(text));
    for (let n = 0; n < 1000; n++) {
      const file = join(directory, n % 2 === 0 ? 'x.jsonl' : 'x.tsv');
      writeFileSync(file, mutated(seeds[n % 2]!, random));
      try {
        for (const { options, right } of (await readDataset(file, tiny, SST2)).examples)
          assert(right < options.length && options.every(({ ids, labels }) => labels.at(-1)! < ids.length));
      } catch (error) {
        assert(error instanceof OperatingError, `mutation ${n}: ${error instanceof Error ? error.stack : error}`);
      }
    }
  });
});
