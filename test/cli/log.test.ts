/** Logs: what every line says, and what none does. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { LiveView } from '../../cli/live-view.ts';
import { createLog, type Place } from '../../cli/log.ts';

function collect(place: Place) {
  const lines: string[] = [];
  return { lines, log: createLog({ role: 'worker' }, place, { write: (line: string) => void lines.push(line) }) };
}

it('binds run, worker and round to every line, as they are at that time', () => {
  const place: Place = { run: 'first' };
  const { lines, log } = collect(place);
  log.info('one');
  Object.assign(place, { worker: 3, round: 7 });
  log.warn('two');
  log.info({ round: 8 }, 'three');
  const parsed = lines.map((line) => JSON.parse(line));
  const said = parsed.map(({ level, role, run, worker, round, msg }) => [level, role, run, worker, round, msg]);
  assert.deepEqual(said, [
    ['info', 'worker', 'first', undefined, undefined, 'one'],
    ['warn', 'worker', 'first', 3, 7, 'two'],
    ['info', 'worker', 'first', 3, 8, 'three'],
  ]);
});

it('tells who watches a simulation that a record came back', () => {
  const lines: string[] = [];
  const terminal = { write: (line: string) => lines.push(line) } as unknown as NodeJS.WriteStream;
  new LiveView(9, terminal, () => 0).onReport({ kind: 'recovered', round: 7 }, { up: 0, down: 0 });
  assert.match(lines.join(''), /^record 7 was lost/);
});

it('never holds a token or a secret', () => {
  const { lines, log } = collect({});
  const secret = 'a-secret-of-the-run';
  log.info(
    { joinToken: secret, access: { joinToken: secret }, hello: { resumeSecret: secret }, runSecret: secret },
    'hello',
  );
  assert.equal(lines.join('').includes(secret), false);
  assert.match(lines.join(''), /\[redacted\]/);
});
