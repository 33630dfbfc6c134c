// Compiles test/**/*.test.ts and runs them under node:test. Arguments filter the files by a part of their path.
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join, relative } from 'node:path';

const root = join(import.meta.dirname, '..');
const wanted = process.argv.slice(2);
// No file takes that long: a test that hangs is to be seen.
const timeoutMs = process.env.ONEBYTE_NIGHTLY === undefined ? 900_000 : 3_600_000;
const files = readdirSync(join(root, 'test'), { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && entry.name.endsWith('.test.ts'))
  .map((entry) => relative(root, join(entry.parentPath, entry.name)))
  .filter((file) => wanted.length === 0 || wanted.some((part) => file.includes(part)))
  .sort();
if (files.length === 0) {
  console.error(`no test file matches ${wanted.join(', ')}`);
  process.exit(2);
}
// Compiled once here, the tests and the commands that they start: from the sources each process would do it anew. The types were checked before.
for (const command of ['npm run --silent build', 'npx --no-install tsc -p tsconfig.test.json']) {
  const { status } = spawnSync(command, { cwd: root, stdio: 'inherit', shell: true });
  if (status !== 0) process.exit(status ?? 1);
}
const compiled = files.map((file) => join('dist', file.replace(/\.ts$/, '.js')));
const run = spawnSync(
  process.execPath,
  ['--enable-source-maps', '--test', '--test-concurrency=2', `--test-timeout=${timeoutMs}`, ...compiled],
  {
    cwd: root,
    stdio: 'inherit',
    env: { ORT_DISABLE_TELEMETRY: '1', ONEBYTE_COMPILED: '1', ...process.env },
  },
);
process.exit(run.status ?? 1);
