/** Which layers of a config slide: `layer_types` where it is given, the family's own rule elsewhere. */
import type { ConfigFields } from '../config-fields.ts';

const TYPES = ['full_attention', 'sliding_attention'];

/** Whether each layer attends within a window. `slides` is the family's rule for a config that does not say. */
function slidingLayers(config: ConfigFields, layers: number, slides: (layer: number) => boolean): boolean[] {
  const types = config.texts('layer_types', layers);
  if (types?.some((type) => !TYPES.includes(type)))
    throw config.refuse('layer_types', `a list of ${TYPES.join(' and ')}`);
  return Array.from({ length: layers }, (_, i) => (types === undefined ? slides(i) : types[i] === 'sliding_attention'));
}

/**
 * The window of each layer of a family whose layers slide where `layer_types` says so, whatever else the config holds.
 * @param slides the family's rule for a config without `layer_types`
 */
export function layerWindows(
  config: ConfigFields,
  layers: number,
  fallback: number | undefined,
  slides: (layer: number, window: number | undefined) => boolean,
): (number | undefined)[] {
  const window = config.nullable('sliding_window', fallback, (name) => config.count(name));
  const sliding = slidingLayers(config, layers, (layer) => slides(layer, window));
  if (window === undefined && sliding.includes(true))
    throw config.refuse('sliding_window', 'a whole number, as layers slide');
  return sliding.map((slide) => (slide ? window : undefined));
}

/** The window of each layer of a family that has `use_sliding_window`, as Qwen has it: none unless that is true. */
export function switchedWindows(
  config: ConfigFields,
  layers: number,
  fallback: number | undefined,
  slides: (layer: number) => boolean,
): (number | undefined)[] {
  const used = config.flag('use_sliding_window', false);
  const window = used ? config.nullable('sliding_window', fallback, (name) => config.count(name)) : undefined;
  const sliding = slidingLayers(config, layers, (layer) => window !== undefined && slides(layer));
  return sliding.map((slide) => (slide ? window : undefined));
}
