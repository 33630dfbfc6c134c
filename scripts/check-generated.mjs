// Fails when a committed generated file differs from what its source generates now.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');
const fresh = mkdtempSync(join(tmpdir(), 'onebyte-generated-'));

/** All files below `directory`, as sorted relative paths. */
const filesBelow = (directory) =>
  readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(directory.length + 1))
    .sort();

try {
  for (const template of ['buf.gen.yaml', 'formats/buf.gen.yaml']) {
    const generate = ['generate', '--template', template, '--output', fresh];
    execFileSync(join(root, 'node_modules/.bin/buf'), generate, { cwd: root, stdio: 'inherit' });
  }
  execFileSync(process.execPath, [join(root, 'scripts/build-simd.mjs'), join(fresh, 'kernels/simd/gen/module.ts')]);
  const reference = join(fresh, 'docs/run-file.yaml');
  execFileSync(process.execPath, ['--import', 'tsx', 'scripts/run-file-reference.ts', reference], { cwd: root });
  const render = [
    'bin/onebyte.js',
    'k8s',
    'render',
    'examples/tiny-reviews/run.yaml',
    '--kustomize',
    join(fresh, 'k8s'),
  ];
  execFileSync(process.execPath, render, { cwd: root });
  const read = (directory, name) => {
    try {
      return readFileSync(join(directory, name), 'utf8');
    } catch {
      return undefined;
    }
  };
  for (const folder of ['proto/gen', 'formats/gen', 'kernels/simd/gen', 'docs', 'k8s/base', 'k8s/overlays']) {
    const committed = join(root, folder);
    const generated = join(fresh, folder);
    const names = new Set([...(folder === 'docs' ? [] : filesBelow(committed)), ...filesBelow(generated)]);
    const drifted = [...names].filter((name) => read(committed, name) !== read(generated, name));
    if (drifted.length > 0) {
      console.error(`${folder} is not what its sources generate: ${drifted.join(', ')}. Run: npm run generate`);
      process.exitCode = 1;
    }
  }
  const report = ['bin/onebyte.js', 'bench', 'report', '--check'];
  if (spawnSync(process.execPath, report, { cwd: root, stdio: 'inherit' }).status !== 0) process.exitCode = 1;
} finally {
  rmSync(fresh, { recursive: true, force: true });
}
