/** Which file a process or a thread that is started runs: a module's source, or what was compiled of it. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/**
 * The file of a module of this package: compiled where the caller is, and in a checkout where ONEBYTE_COMPILED is set; else its source,
 * which needs tsx.
 * @param module URL without its ending
 */
export function ownModule(module: URL): { readonly url: URL; readonly isSource: boolean } {
  if (import.meta.url.endsWith('.js')) return { url: new URL(`${module}.js`), isSource: false };
  const root = new URL('..', import.meta.url).href;
  if (process.env.ONEBYTE_COMPILED !== undefined && module.href.startsWith(root)) {
    const compiled = new URL(`dist/${module.href.slice(root.length)}.js`, root);
    if (existsSync(fileURLToPath(compiled))) return { url: compiled, isSource: false };
  }
  return { url: new URL(`${module}.ts`), isSource: true };
}
