/** Exact powers of two and binary exponents of float64 numbers, without pow or log (their last bit differs between engines). */
const view = new DataView(new ArrayBuffer(8));

/** 2ᵉ for −1022 ≤ e ≤ 1023. */
export function powerOfTwo(e: number): number {
  view.setUint32(0, (e + 1023) << 20);
  view.setUint32(4, 0);
  return view.getFloat64(0);
}

/** e with x = mantissa · 2ᵉ, ½ ≤ mantissa < 1. x finite and > 0. */
export function binaryExponent(x: number): number {
  view.setFloat64(0, x);
  const biased = view.getUint32(0) >>> 20;
  return biased === 0 ? binaryExponent(x * powerOfTwo(64)) - 64 : biased - 1022;
}
