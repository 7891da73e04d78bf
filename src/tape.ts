/**
 * Reverse mode. The record of a computation hangs on the tensors themselves: no list, no global, no op by name.
 * A node lives while a tensor or a later node points at it, so dropping the last tensor frees the graph.
 */
import { ArgumentError, StateError } from "./errors.ts";
import { noGrad } from "./gradMode.ts";
import { type Call, type Gradient, type Scalars, showShape, type VjpContext } from "./op.ts";
import { keep, scope } from "./scope.ts";
import type { Storage, Tensor } from "./tensor.ts";

let created = 0;

/** A tensor's data held for the backward pass, independent of the tensor's own life. */
interface Saved {
  readonly storage: Storage;
  readonly spec: { readonly shape: readonly number[]; readonly dtype: Tensor["dtype"] };
  readonly version: number;
}

export type Rule = Exclude<Gradient, { none: string }>;

/** One recorded call. */
export class GraphNode {
  readonly id = created++;
  readonly call: Call;
  readonly scalars: Scalars;
  /** Where each input came from: a node's output, a leaf that wants a gradient, or nothing. */
  readonly sources: readonly ({ node: GraphNode; position: number } | { leaf: Tensor } | undefined)[];
  #saved: Map<string, Saved> | undefined = new Map();
  #holders = 0;
  readonly #rule: Rule;

  constructor(call: Call, rule: Rule, scalars: Scalars, inputs: readonly Tensor[], outputs: readonly Storage[]) {
    this.call = call;
    this.#rule = rule;
    this.scalars = scalars;
    this.sources = inputs.map((input) => {
      if (input.node) return { node: retainNode(input.node), position: input.position };
      return input.requiresGrad ? { leaf: input } : undefined;
    });
    for (const i of rule.saves.inputs ?? []) if (i < inputs.length) this.#save(`input ${i}`, inputs[i].storage, call.inputs[i]);
    for (const i of rule.saves.outputs ?? []) if (i < outputs.length) this.#save(`output ${i}`, outputs[i], call.outputs[i]);
  }

  #save(name: string, storage: Storage, spec: Saved["spec"]): void {
    this.#saved?.set(name, { storage: storage.retain(), spec, version: storage.version });
  }

  get spent(): boolean {
    return this.#saved === undefined;
  }

  hold(): void {
    this.#holders++;
  }

  /** Drops one hold; the last one frees what was saved and lets go of the nodes before, without recursion. */
  release(): void {
    for (const stack: GraphNode[] = [this]; stack.length > 0; ) {
      const node = stack.pop() as GraphNode;
      if (--node.#holders > 0) continue;
      node.free();
      for (const source of node.sources) if (source && "node" in source) stack.push(source.node);
    }
  }

  /** Frees what was saved; the node cannot be differentiated any more. */
  free(): void {
    for (const saved of this.#saved?.values() ?? []) saved.storage.release();
    this.#saved = undefined;
  }

  /** The vector-Jacobian product: one gradient per input, from one cotangent per output. */
  vjp(cotangents: readonly (Tensor | undefined)[]): readonly (Tensor | undefined)[] {
    const name = this.call.op.name;
    const take = (key: string): Tensor => {
      const saved = this.#saved?.get(key);
      if (!saved) throw new StateError(`${name}: its backward rule reads ${key}, which \`saves\` does not list`);
      if (saved.version !== saved.storage.version) {
        throw new StateError(`backward: expected ${key} of ${name} as it was in the forward pass, but it was changed in place since`);
      }
      return saved.storage.view(saved.spec);
    };
    const context: VjpContext = {
      call: this.call,
      scalars: this.scalars,
      gradient: (i) => {
        const cotangent = cotangents[i];
        if (!cotangent) throw new StateError(`${name}: its backward rule reads the gradient of output ${i}, which took no part in the loss`);
        return cotangent;
      },
      hasGradient: (i) => cotangents[i] !== undefined,
      needs: (i) => this.sources[i] !== undefined,
      input: (i) => take(`input ${i}`),
      output: (i) => take(`output ${i}`),
    };
    return this.#rule.vjp(context);
  }
}

export const retainNode = (node: GraphNode): GraphNode => {
  node.hold();
  return node;
};

/** Nodes that the roots depend on, latest first: creation order is a topological order. */
const reachable = (roots: Iterable<GraphNode>): GraphNode[] => {
  const seen = new Set(roots);
  for (const node of seen) {
    for (const source of node.sources) if (source && "node" in source) seen.add(source.node);
  }
  return [...seen].sort((a, b) => b.id - a.id);
};

/** The sum of two cotangents of one tensor, which it consumes. */
const merge = (before: Tensor | undefined, gradient: Tensor): Tensor => {
  if (!before) return gradient;
  const sum = gradient.device.accumulate(before, gradient);
  before.dispose();
  gradient.dispose();
  return sum;
};

/** An output of the graph, and the cotangent to start from there. */
export interface Root {
  readonly output: Tensor;
  readonly cotangent: Tensor;
}

/**
 * Vector-Jacobian product of the whole graph: the gradient of every leaf that wants one, each owned by the caller.
 * The graph is freed. `where` names the caller in messages.
 */
export const differentiate = (roots: readonly Root[], where: string): Map<Tensor, Tensor> => {
  const rootNodes = roots.map(({ output, cotangent }) => {
    if (!output.node) throw new StateError(`${where}: expected a result computed from a leaf with requiresGrad, but no gradient was recorded for it`);
    if (showShape(output.shape) !== showShape(cotangent.shape)) {
      throw new ArgumentError(`${where}: expected a gradient of shape ${showShape(output.shape)}, but received shape ${showShape(cotangent.shape)}`);
    }
    return output.node;
  });
  const nodes = reachable(rootNodes);
  for (const node of nodes) {
    if (node.spent)
      throw new StateError(
        `${where}: expected a fresh graph, but ${node.call.op.name} was already differentiated and freed by an earlier backward()`,
      );
  }
  const cotangents = new Map<GraphNode, (Tensor | undefined)[]>();
  const leaves = new Map<Tensor, Tensor>();
  const deposit = (node: GraphNode, position: number, cotangent: Tensor): void => {
    const slots = cotangents.get(node) ?? new Array<undefined>(node.call.outputs.length).fill(undefined);
    slots[position] = merge(slots[position], cotangent);
    cotangents.set(node, slots);
  };
  const visit = (node: GraphNode): void => {
    const incoming = cotangents.get(node) ?? [];
    cotangents.delete(node);
    const gradients = incoming.some((cotangent) => cotangent) ? scope(() => node.vjp(incoming)) : [];
    for (const cotangent of incoming) if (!gradients.includes(cotangent)) cotangent?.dispose();
    node.free();
    gradients.forEach((gradient, i) => {
      const source = node.sources[i];
      if (!gradient || !source) return;
      const shape = node.call.inputs[i].shape;
      if (showShape(gradient.shape) !== showShape(shape)) {
        throw new StateError(
          `${node.call.op.name}: its backward rule gave shape ${showShape(gradient.shape)} for input ${i} of shape ${showShape(shape)}`,
        );
      }
      // A rule may give one tensor for two inputs; each place needs its own.
      const own = gradients.indexOf(gradient) === i ? gradient : gradient.detach();
      if ("leaf" in source) leaves.set(source.leaf, merge(leaves.get(source.leaf), own));
      else deposit(source.node, source.position, own);
    });
  };
  noGrad(() =>
    scope(() => {
      for (const [i, { output, cotangent }] of roots.entries()) deposit(rootNodes[i], output.position, cotangent.detach());
      nodes.forEach(visit);
      return [...leaves.values()];
    }),
  );
  return leaves;
};

/** See `Tensor.backward`. */
export const backward = (loss: Tensor, gradient?: Tensor): void => {
  const where = "backward";
  if (!gradient && loss.size !== 1)
    throw new ArgumentError(`${where}: expected a tensor with one element, but received shape ${showShape(loss.shape)}; pass a gradient`);
  const leaves = scope(() => {
    const roots = [{ output: loss, cotangent: gradient ?? loss.device.full(loss.shape, 1) }];
    return [...differentiate(roots, where)].map(([leaf, value]) => ({ leaf, value: keep(value) }));
  });
  for (const { leaf, value } of leaves) leaf.grad = keep(noGrad(() => merge(leaf.grad, value)));
};
