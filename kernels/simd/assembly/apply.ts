/** θᵢ ← fround(θᵢ − fround(scale·Sᵢ)), the product in float64. */

/** theta, float32, from element 0 of block `first`; sum: `count` blocks, dense; stride: blocks of θ from one to the next; elements: of θ from there on. */
export function applyBlocks(theta: usize, sum: usize, stride: i32, count: i32, elements: i32, scale: f64): void {
  const scales = f64x2.splat(scale);
  for (let k = 0; k < count; k++) {
    const block = k * stride * 64;
    const length = min(64, elements - block);
    let at = theta + ((<usize>block) << 2);
    if (length === 64) {
      for (let i = 0; i < 16; i++) {
        const s = v128.load(sum + (i << 4));
        const low = f32x4.demote_f64x2_zero(f64x2.mul(scales, f64x2.convert_low_i32x4_s(s)));
        const high = f32x4.demote_f64x2_zero(f64x2.mul(scales, f64x2.convert_low_i32x4_s(i64x2.shuffle(s, s, 1, 1))));
        v128.store(at, f32x4.sub(v128.load(at), i64x2.shuffle(low, high, 0, 2)));
        at += 16;
      }
    } else {
      for (let i = 0; i < length; i++) {
        store<f32>(at, load<f32>(at) - <f32>(scale * <f64>load<i32>(sum + (i << 2))));
        at += 4;
      }
    }
    sum += 256;
  }
}
