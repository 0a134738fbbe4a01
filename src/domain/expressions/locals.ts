/** Variables that loops declare, while a tree is compiled. */
import type { Evaluate } from "./expression.ts";
import type { Node } from "./syntax.ts";

/** Declared around a node, innermost first. */
export interface Locals {
  readonly name: string;
  readonly slot: number;
  readonly outer: Locals | undefined;
}

/** What one compilation finds out on its way. */
export interface Findings {
  usesContext: boolean;
}

export type Compile = (node: Node, locals: Locals | undefined, findings: Findings) => Evaluate;

export function nextSlot(locals: Locals | undefined): number {
  return locals === undefined ? 0 : locals.slot + 1;
}

export function findLocal(name: string, locals: Locals | undefined): Locals | undefined {
  for (let local = locals; local !== undefined; local = local.outer) if (local.name === name) return local;
  return undefined;
}
