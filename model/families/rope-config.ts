/** Rope as config.json states it: `rope_scaling` + `rope_theta` (older) or `rope_parameters` (newer), to a checked description. */
import type { Rope, RopeScaling } from '../architecture.ts';
import type { ConfigFields } from '../config-fields.ts';

export interface RopeContext {
  readonly headSize: number;
  readonly maxPositions: number;
  /** Where no theta is given. */
  readonly defaultTheta: number;
  /** `rope_type` values of this family. Default: all, as where transformers' shared rope is taken. */
  readonly types?: readonly RopeScaling['type'][];
  /** Other names for a type in old configs of this family. */
  readonly aliases?: Readonly<Record<string, RopeScaling['type']>>;
  /** Whether `partial_rotary_factor` is read; elsewhere another value than 1 is refused. */
  readonly partial?: boolean;
  /** Wins over what the config's rope says (phi3: the top level, with a default). */
  readonly originalMaxPositions?: number;
}

const ALL_TYPES: readonly RopeScaling['type'][] = ['default', 'linear', 'dynamic', 'llama3', 'yarn', 'longrope'];

/** The rope of a config that has one for all layers. */
export function ropeOf(config: ConfigFields, context: RopeContext): Rope {
  const holder = config.isEmpty('rope_scaling') ? 'rope_parameters' : 'rope_scaling';
  return ropeFrom(config, config.object(holder), context);
}

/** `parameters` may be undefined: then the top level holds the theta, and nothing is scaled. */
export function ropeFrom(config: ConfigFields, parameters: ConfigFields | undefined, context: RopeContext): Rope {
  const theta = [parameters, config].find((fields) => fields?.has('rope_theta'))?.positive('rope_theta');
  const rotated = rotatedSize(config, parameters, context);
  return {
    theta: theta ?? context.defaultTheta,
    rotated,
    scaling: parameters === undefined ? { type: 'default' } : scalingOf(config, parameters, context, rotated / 2),
  };
}

function rotatedSize(config: ConfigFields, parameters: ConfigFields | undefined, context: RopeContext): number {
  const holder = [parameters, config].find((fields) => fields?.has('partial_rotary_factor'));
  const fraction = holder?.positive('partial_rotary_factor') ?? 1;
  if (holder !== undefined && (context.partial ? fraction > 1 : fraction !== 1))
    throw holder.refuse('partial_rotary_factor', context.partial ? 'a number above 0, at most 1' : '1 in this family');
  const rotated = Math.trunc(context.headSize * fraction);
  if (rotated < 2 || rotated % 2 !== 0)
    throw (holder ?? config).refuse(
      holder === undefined ? 'head_dim' : 'partial_rotary_factor',
      `an even number of rotated elements per head, not ${rotated}`,
    );
  return rotated;
}

function scalingOf(top: ConfigFields, fields: ConfigFields, context: RopeContext, half: number): RopeScaling {
  for (const name of ['full_attention', 'sliding_attention'])
    if (fields.has(name)) throw fields.refuse(name, 'one rope for all layers in this family');
  const key = fields.has('rope_type') || !fields.has('type') ? 'rope_type' : 'type';
  const named = fields.text(key, 'default');
  const { types = ALL_TYPES, aliases } = context;
  const type = aliases?.[named] ?? types.find((known) => known === named);
  if (type === undefined) throw fields.refuse(key, `one of ${types.join(', ')}`);
  const original = originalMaxPositions(top, fields, context);
  switch (type) {
    case 'default':
      return { type };
    case 'linear':
      return { type, factor: fields.positive('factor') };
    case 'dynamic':
      return { type, factor: fields.positive('factor'), maxPositions: context.maxPositions };
    case 'llama3':
      return {
        type,
        factor: fields.positive('factor'),
        lowFrequencyFactor: fields.positive('low_freq_factor'),
        highFrequencyFactor: fields.positive('high_freq_factor'),
        originalMaxPositions: original,
      };
    case 'yarn':
      return yarnOf(fields, context, original);
    case 'longrope':
      return longropeOf(fields, context, original, half);
  }
}

/** The top level wins over the rope's own field, as in transformers. */
function originalMaxPositions(top: ConfigFields, fields: ConfigFields, context: RopeContext): number {
  if (context.originalMaxPositions !== undefined) return context.originalMaxPositions;
  const name = 'original_max_position_embeddings';
  return [top, fields].find((holder) => holder.has(name))?.count(name) ?? context.maxPositions;
}

function yarnOf(fields: ConfigFields, context: RopeContext, originalMax: number): RopeScaling {
  const factor = fields.isNull('factor') ? context.maxPositions / originalMax : fields.positive('factor');
  // Python's truth: 0 counts as missing.
  const orElse = (name: string, fallback: number): number => (fields.isEmpty(name) ? fallback : fields.positive(name));
  const stretch = (mscale: number): number => (factor <= 1 ? 1 : 0.1 * mscale * Math.log(factor) + 1);
  const [above, below] = [orElse('mscale', 0), orElse('mscale_all_dim', 0)];
  const inferred = above > 0 && below > 0 ? stretch(above) / stretch(below) : stretch(1);
  return {
    type: 'yarn',
    factor,
    attentionFactor: fields.positive('attention_factor', inferred),
    betaFast: orElse('beta_fast', 32),
    betaSlow: orElse('beta_slow', 1),
    truncate: fields.flag('truncate', true),
    originalMaxPositions: originalMax,
  };
}

function longropeOf(fields: ConfigFields, context: RopeContext, originalMax: number, half: number): RopeScaling {
  const factor = fields.positive('factor', context.maxPositions / originalMax);
  const inferred = factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(originalMax));
  const factors = (name: string): readonly number[] => {
    const list = fields.numbers(name, half);
    if (list?.length !== half) throw fields.refuse(name, `a list of ${half} numbers`);
    return list;
  };
  return {
    type: 'longrope',
    shortFactor: factors('short_factor'),
    longFactor: factors('long_factor'),
    attentionFactor: fields.positive('attention_factor', inferred),
    originalMaxPositions: originalMax,
  };
}

/** How far a row may go: a scaled rope reaches beyond the length that the config states for the unscaled one. */
export function reach(maxPositions: number, ropes: readonly Rope[]): number {
  let positions = maxPositions;
  for (const { scaling } of ropes) {
    if (scaling.type === 'linear' || scaling.type === 'dynamic')
      positions = Math.max(positions, Math.floor(maxPositions * scaling.factor));
    if (scaling.type === 'yarn' || scaling.type === 'llama3')
      positions = Math.max(positions, Math.floor(scaling.originalMaxPositions * scaling.factor));
  }
  return positions;
}
