/** The types that the package lacks. */
declare module 'parse-prometheus-text-format' {
  interface Family {
    readonly name: string;
    readonly help: string;
    readonly type: string;
    readonly metrics: readonly { readonly value?: string; readonly labels?: { readonly [label: string]: string } }[];
  }
  // biome-ignore lint/style/noDefaultExport: the package has one.
  export default function parse(text: string): Family[];
}
