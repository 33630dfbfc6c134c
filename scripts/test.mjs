// Runs test/**/*.test.ts under node:test. Arguments filter the files by a part of their path.
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
// The commands that the tests start are compiled once here, not from the sources by each process.
const build = spawnSync('npm', ['run', '--silent', 'build'], { cwd: root, stdio: 'inherit' });
if (build.status !== 0) process.exit(build.status ?? 1);
const run = spawnSync(
  process.execPath,
  ['--import', 'tsx', '--test', '--test-concurrency=2', `--test-timeout=${timeoutMs}`, ...files],
  {
    cwd: root,
    stdio: 'inherit',
    env: { ORT_DISABLE_TELEMETRY: '1', ONEBYTE_COMPILED: '1', ...process.env },
  },
);
process.exit(run.status ?? 1);
