// Compiles kernels/simd/assembly to WebAssembly and writes it as a TypeScript file (so that tsc alone builds the package).
// Usage: node scripts/build-simd.mjs [FILE]
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import asc from 'assemblyscript/asc';

const root = join(import.meta.dirname, '..');
const target = process.argv[2] ?? join(root, 'kernels/simd/gen/module.ts');
const sources = ['sum', 'apply', 'perturb', 'project', 'signs'].map((name) => `kernels/simd/assembly/${name}.ts`);
const options = ['--runtime', 'stub', '--enable', 'simd', '-O3', '--noAssert', '--importMemory', '--noExportMemory'];
const { error, stderr, binary } = await compile([...sources, ...options, '--disableWarning', '112', '--baseDir', root]);
if (error) throw new Error(`asc: ${error.message}\n${stderr}`);
process.stderr.write(stderr);
const lines = Buffer.from(binary)
  .toString('base64')
  .match(/.{1,110}/g);
const source = [
  '// Made from kernels/simd/assembly by scripts/build-simd.mjs. Do not edit.',
  'export const SIMD_MODULE_BASE64 =',
  ...lines.map((line, i) => `  '${line}'${i === lines.length - 1 ? ';' : ' +'}`),
  '',
].join('\n');
mkdirSync(dirname(target), { recursive: true });
writeFileSync(target, source);

async function compile(args) {
  let binary;
  const { error, stderr } = await asc.main([...args, '--outFile', 'module.wasm'], {
    writeFile: (_name, contents) => {
      binary = contents;
    },
  });
  return { error, stderr: stderr.toString(), binary };
}
