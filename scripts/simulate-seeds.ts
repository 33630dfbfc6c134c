// Replays one seed of the simulation, or runs a range on all cores: `npx tsx scripts/simulate-seeds.ts SEED [COUNT]`.
// The nightly run is `npm run simulate:nightly`: a million seeds.
import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { failuresOf } from '../test/simulation/seeds.ts';

const [from = 0, count = 1, every = 0] = process.argv.slice(2).map(Number);
if (![from, count, every].every(Number.isSafeInteger)) throw new Error('usage: simulate-seeds.ts SEED [COUNT]');

if (every > 0 || count === 1) {
  const failures = failuresOf(from, every > 0 ? count : from + 1, Math.max(1, every));
  for (const failure of failures) console.log(failure);
  process.exitCode = failures.length > 0 ? 1 : 0;
} else {
  const cores = availableParallelism();
  const codes = await Promise.all(Array.from({ length: cores }, (_, i) => part(from + i, from + count, cores)));
  console.log(`${count} seeds from ${from}: ${codes.every((code) => code === 0) ? 'no breach' : 'breaches above'}`);
  process.exitCode = Math.max(...codes);
}

/** Runs every `every`-th seed in a process of its own. */
function part(first: number, end: number, every: number): Promise<number> {
  const args = ['--import', 'tsx', import.meta.filename, String(first), String(end), String(every)];
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { stdio: 'inherit' });
    child.on('error', reject);
    child.on('exit', (code) => resolve(code ?? 1));
  });
}
