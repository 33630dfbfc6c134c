/** How many dimensions the values of a graph have: what is needed to transpose one. */
import type { GraphProto, NodeProto } from '../../formats/gen/onnx.ts';
import type { Value } from './onnx-parts.ts';

export class Ranks {
  private readonly ranks = new Map<Value, number>();
  /** Elements of vectors whose elements are sizes or axes. */
  private readonly lengths = new Map<Value, number>();

  constructor({ initializer, input, node }: GraphProto) {
    for (const { name, dims } of initializer) {
      this.ranks.set(name, dims.length);
      if (dims.length === 1) this.lengths.set(name, dims[0]!);
    }
    for (const { name, type } of input) {
      const rank = type?.tensorType?.shape?.dim.length;
      if (rank !== undefined) this.ranks.set(name, rank);
    }
    this.follow(node);
  }

  /** Undefined where it follows from nothing that is known before a run. */
  of(value: Value): number | undefined {
    return this.ranks.get(value);
  }

  private follow(nodes: readonly NodeProto[]): void {
    for (const node of nodes) {
      for (const { g } of node.attribute) if (g) this.follow(g.node);
      node.output.forEach((output, i) => {
        const rank = this.rankOf(node, i);
        if (rank !== undefined) this.ranks.set(output, rank);
      });
      if (node.opType === 'Shape') this.lengths.set(node.output[0]!, this.ranks.get(node.input[0]!) ?? 0);
    }
  }

  private rankOf({ opType, input, attribute }: NodeProto, output: number): number | undefined {
    const [first, second] = input.map((value) => this.ranks.get(value));
    const length = this.lengths.get(input[1]!);
    switch (opType) {
      case 'Reshape':
        return length;
      case 'Expand':
        return first === undefined || length === undefined ? undefined : Math.max(first, length);
      case 'Squeeze':
        return first === undefined || length === undefined ? undefined : first - length;
      case 'Unsqueeze':
        return first === undefined || length === undefined ? undefined : first + length;
      case 'Gather':
        return first === undefined || second === undefined ? undefined : first - 1 + second;
      case 'Shape':
        return 1;
      case 'If': {
        const result = attribute[0]?.g?.output[output];
        return result && this.ranks.get(result.name);
      }
      default: {
        if (opType === 'MatMulNBits') return first;
        if (opType.startsWith('Reduce') && attribute.some(({ name, i }) => name === 'keepdims' && i === 0))
          return first === undefined || length === undefined ? undefined : first - length;
        // Elements are broadcast, and the other operators keep the rank of the largest of their inputs.
        const ranks = input.flatMap((value) => this.ranks.get(value) ?? []);
        return ranks.length < input.filter((value) => value !== '').length ? undefined : Math.max(...ranks);
      }
    }
  }
}
