#!/usr/bin/env node
// Runs the compiled modules in an installed package, and in a checkout where ONEBYTE_COMPILED is set; else the TypeScript sources.
import { existsSync } from 'node:fs';

// Until a command that can be drained listens, it is drained at once. As process 1 of a container any would lose the signal.
if (process.pid === 1 || ['simulate', 'trainer', 'worker'].includes(process.argv[2]))
  process.on('SIGTERM', () => process.exit(75));

// A process that another of ours started ends with that one, which may be gone before this line.
const endAlone = () => process.exit(process.exitCode ?? 130);
process.on('disconnect', endAlone);
process.channel?.unref();
if (process.connected === false) endAlone();

// ONNX Runtime reports its use to its makers unless told not to; it reads this when it is loaded.
process.env.ORT_DISABLE_TELEMETRY ??= '1';

function fail(text) {
  console.error(`onebyte: ${text}`);
  process.exit(2);
}

const source = new URL('../cli/main.ts', import.meta.url);
const compiled = new URL('../dist/cli/main.js', import.meta.url);
if (existsSync(source) && process.env.ONEBYTE_COMPILED === undefined) {
  const { register } = await import('tsx/esm/api').catch(() =>
    fail('tsx, which runs the sources, is missing: run npm ci'),
  );
  register();
  await import(source.href);
} else {
  if (!existsSync(compiled))
    fail(
      'dist/cli/main.js is missing: where this package was made, run npm run build, then npm pack or npm install -g .',
    );
  await import(compiled.href);
}
