/** Bytes that were right once: seeded changes of an encoded message. */

/** A copy of `bytes` with one to four changes: bits, bytes, lengths, parts removed, doubled or put in. */
export function mutated(bytes: Uint8Array, random: () => number): Buffer {
  let result = Buffer.from(bytes);
  const below = (n: number): number => Math.floor(random() * n);
  for (let changes = 1 + below(4); changes > 0; changes--) {
    const at = below(result.length + 1);
    const end = at + below(result.length - at + 1);
    switch (below(6)) {
      case 0:
        if (at < result.length) result[at]! ^= 1 << below(8);
        break;
      case 1:
        if (at < result.length) result[at] = [0, 1, 0x7f, 0x80, 0xff][below(5)]!;
        break;
      case 2:
        result = Buffer.concat([result.subarray(0, at), result.subarray(end)]);
        break;
      case 3:
        result = Buffer.concat([result.subarray(0, end), result.subarray(at)]);
        break;
      case 4:
        result = Buffer.concat([result.subarray(0, at), randomBytes(below(16), random), result.subarray(at)]);
        break;
      case 5:
        result = Buffer.from(result.subarray(0, at));
        break;
    }
  }
  return result;
}

/** `length` bytes of a seeded generator. */
export const randomBytes = (length: number, random: () => number): Buffer =>
  Buffer.from(Array.from({ length }, () => Math.floor(random() * 256)));
