/** This package's own files, found from the sources and from an installed package. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folder of package.json: one level up from platform/, two from dist/platform/. */
export function packageRoot(): string {
  const near = fileURLToPath(new URL('..', import.meta.url));
  return existsSync(join(near, 'package.json')) ? near : fileURLToPath(new URL('../..', import.meta.url));
}

/** What package.json says. */
export const ownPackage = (): {
  readonly version: string;
  readonly dependencies: { readonly [name: string]: string };
} => JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8'));
