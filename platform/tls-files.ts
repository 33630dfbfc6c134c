/** What a process shows and trusts where it speaks TLS. */

/** PEM files, read; null: none. */
export interface TlsFiles {
  /** Certificates to trust. */
  readonly ca: Buffer | null;
  readonly key: Buffer | null;
  readonly cert: Buffer | null;
}
