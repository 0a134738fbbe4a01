/** What an expression or template reads, for checks before anything runs. */
import type { Expression, Position, Reference, Template } from "./expression.ts";
import { expressionsOf } from "./expressions-of.ts";
import { namespaces } from "./functions.ts";
import { positionsIn } from "./positions.ts";
import { childrenOf, type Node } from "./syntax.ts";
import { typeNames } from "./value.ts";

/**
 * Every variable that is read, as often as it is read, with the keys that are known. Variables of loops and names of
 * types and namespaces (`json.encode`) are left out.
 */
export function references(compiled: Expression | Template): readonly Reference[] {
  const found: Reference[] = [];
  for (const [expression, path] of expressionsOf(compiled)) walk(expression.syntax, new Set(), expression, path, found);
  return found;
}

interface Chain {
  readonly root: Node & { readonly kind: "name" };
  readonly path: (string | number)[];
  optionalFrom: number | undefined;
  /** Parts that are computed and hold references of their own. */
  readonly computed: Node[];
}

function walk(node: Node, locals: ReadonlySet<string>, expression: Expression, at: string, found: Reference[]): void {
  const chain = chainOf(node);
  if (chain) {
    addReference(chain, locals, expression, at, found);
    for (const child of chain.computed) walk(child, locals, expression, at, found);
    return;
  }
  if (node.kind === "loop" || node.kind === "bind") {
    const outer = node.kind === "loop" ? node.range : node.value;
    const inner = new Set([...locals, ...(node.kind === "loop" ? node.variables : [node.variable])]);
    walk(outer, locals, expression, at, found);
    for (const child of childrenOf(node)) if (child !== outer) walk(child, inner, expression, at, found);
    return;
  }
  const skipsTarget = node.kind === "method" && node.target.kind === "name" && namespaces.has(node.target.name) && !locals.has(node.target.name);
  for (const child of skipsTarget ? node.args : childrenOf(node)) walk(child, locals, expression, at, found);
}

/** The longest path from a name upwards through `.a`, `.?a`, `[0]`, `["a"]` and `has`; undefined for other nodes. */
function chainOf(node: Node): Chain | undefined {
  if (node.kind === "name") return { root: node, path: [], optionalFrom: undefined, computed: [] };
  if (node.kind !== "select" && node.kind !== "index" && node.kind !== "has") return undefined;
  const chain = chainOf(node.operand);
  if (!chain) return undefined;
  const key = node.kind === "index" ? literalKey(node.index) : node.field;
  if (key === undefined || chain.computed.length > 0) {
    if (node.kind === "index") chain.computed.push(node.index);
    return chain;
  }
  if (node.kind === "has" || node.optional) chain.optionalFrom ??= chain.path.length;
  chain.path.push(key);
  return chain;
}

/** The path from a variable that a node reads, when all of its keys are known and needed. */
export function pathRead(node: Node): { readonly root: string; readonly path: readonly (string | number)[] } | undefined {
  const chain = node.kind === "has" ? undefined : chainOf(node);
  return chain && chain.computed.length === 0 && chain.optionalFrom === undefined ? { root: chain.root.name, path: chain.path } : undefined;
}

function literalKey(node: Node): string | number | undefined {
  if (node.kind !== "literal") return undefined;
  if (typeof node.value === "string" || typeof node.value === "number") return node.value;
  return typeof node.value === "bigint" ? Number(node.value) : undefined;
}

function addReference(chain: Chain, locals: ReadonlySet<string>, expression: Expression, at: string, found: Reference[]): void {
  const { name } = chain.root;
  if (locals.has(name) || (typeNames.has(name) && chain.path.length === 0) || typeNames.has([name, ...chain.path].join("."))) return;
  const position = shifted(expression, chain.root.at);
  found.push({ root: name, path: chain.path, optionalFrom: chain.optionalFrom ?? chain.path.length, position, at });
}

function shifted({ position, text }: Expression, offset: number): Position {
  const inner = positionsIn(text)(offset);
  const column = inner.line === 1 ? position.column + inner.column - 1 : inner.column;
  return { offset: position.offset + offset, line: position.line + inner.line - 1, column };
}
