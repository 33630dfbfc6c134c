/** Another header for the data of a safetensors file. */
import { readFileSync, writeFileSync } from 'node:fs';

export function editHeader(file: string, edit: (header: string) => string): void {
  const bytes = readFileSync(file);
  const end = 8 + Number(bytes.readBigUInt64LE());
  const header = Buffer.from(edit(bytes.subarray(8, end).toString()));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(header.length));
  writeFileSync(file, Buffer.concat([size, header, bytes.subarray(end)]));
}
