/** Which file a process or a thread that is started runs. */

/**
 * The file of a module of this package: its source, which needs tsx, where this process runs the sources, else what was compiled of it.
 * @param module URL without its ending
 */
export function ownModule(module: URL): { readonly url: URL; readonly isSource: boolean } {
  const isSource = import.meta.url.endsWith('.ts');
  return { url: new URL(`${module}.${isSource ? 'ts' : 'js'}`), isSource };
}
