#!/usr/bin/env node
// Runs the TypeScript sources in a checkout and the compiled ones in an installed package.
import { existsSync } from 'node:fs';

// Until a command that can be drained listens, it is drained at once. As process 1 of a container any would lose the signal.
if (process.pid === 1 || ['simulate', 'trainer', 'worker'].includes(process.argv[2]))
  process.on('SIGTERM', () => process.exit(75));

// ONNX Runtime reports its use to its makers unless told not to; it reads this when it is loaded.
process.env.ORT_DISABLE_TELEMETRY ??= '1';

const source = new URL('../cli/main.ts', import.meta.url);
if (existsSync(source)) {
  const { register } = await import('tsx/esm/api');
  register();
  await import(source.href);
} else {
  await import('../dist/cli/main.js');
}
