/** The files of the page, read once. They are served as they lie in the package: no build, nothing from elsewhere. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';

const OWN = [
  'index.html',
  'page.css',
  'page.js',
  'charts.js',
  'canvas.js',
  'tables.js',
  'workers.js',
  'rows.js',
  'format.js',
];
/** uPlot (MIT): the line charts. */
const UPLOT = ['uPlot.esm.js', 'uPlot.min.css'];

const TYPES: { readonly [extension: string]: string } = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
};

export interface PageFile {
  readonly type: string;
  readonly content: Buffer;
}

/** By the path of their URLs. */
export function readPageFiles(): ReadonlyMap<string, PageFile> {
  const require = createRequire(import.meta.url);
  const own = new URL('./page/', import.meta.url);
  const files = [
    ...OWN.map((name) => [name, fileURLToPath(new URL(name, own))] as const),
    ...UPLOT.map((name) => [name, require.resolve(`uplot/dist/${name}`)] as const),
  ];
  return new Map(
    files.map(([name, file]) => [
      name === 'index.html' ? '/' : `/${name}`,
      { type: TYPES[extname(name)]!, content: readFileSync(file) },
    ]),
  );
}
