/** The tree of an expression. `at` is the offset in the source that a message about the node points to. */
import type { Value } from "./value.ts";

export type Node =
  | { readonly kind: "literal"; readonly at: number; readonly value: Value }
  | { readonly kind: "name"; readonly at: number; readonly name: string }
  | { readonly kind: "select"; readonly at: number; readonly operand: Node; readonly field: string; readonly optional: boolean }
  | { readonly kind: "has"; readonly at: number; readonly operand: Node; readonly field: string }
  | { readonly kind: "index"; readonly at: number; readonly operand: Node; readonly index: Node; readonly optional: boolean }
  | { readonly kind: "call"; readonly at: number; readonly name: string; readonly args: readonly Node[] }
  | { readonly kind: "method"; readonly at: number; readonly target: Node; readonly name: string; readonly args: readonly Node[] }
  | { readonly kind: "unary"; readonly at: number; readonly operator: UnaryOperator; readonly operand: Node }
  | { readonly kind: "binary"; readonly at: number; readonly operator: BinaryOperator; readonly left: Node; readonly right: Node }
  | { readonly kind: "logic"; readonly at: number; readonly operator: "&&" | "||"; readonly terms: readonly Node[] }
  | { readonly kind: "conditional"; readonly at: number; readonly test: Node; readonly then: Node; readonly otherwise: Node }
  | { readonly kind: "list"; readonly at: number; readonly items: readonly ListItem[] }
  | { readonly kind: "map"; readonly at: number; readonly entries: readonly MapEntry[] }
  | LoopNode
  | { readonly kind: "bind"; readonly at: number; readonly variable: string; readonly value: Node; readonly body: Node };

export type UnaryOperator = "!" | "-";
export type BinaryOperator = "+" | "-" | "*" | "/" | "%" | "==" | "!=" | "<" | "<=" | ">" | ">=" | "in";

export interface ListItem {
  readonly value: Node;
  readonly optional: boolean;
}
export interface MapEntry {
  readonly key: Node;
  readonly value: Node;
  readonly optional: boolean;
}

/** A macro that declares variables: `range.macro(variables…, test, body)`. */
export interface LoopNode {
  readonly kind: "loop";
  readonly at: number;
  readonly macro: LoopMacro;
  readonly range: Node;
  readonly variables: readonly string[];
  readonly test: Node | undefined;
  readonly body: Node | undefined;
}
export type LoopMacro = "all" | "exists" | "existsOne" | "map" | "filter" | "sortBy" | "transformList" | "transformMap" | "optMap" | "optFlatMap";

/** The nodes directly below. */
export function childrenOf(node: Node): readonly Node[] {
  switch (node.kind) {
    case "literal":
    case "name":
      return [];
    case "select":
    case "has":
    case "unary":
      return [node.operand];
    case "index":
      return [node.operand, node.index];
    case "call":
      return node.args;
    case "method":
      return [node.target, ...node.args];
    case "binary":
      return [node.left, node.right];
    case "logic":
      return node.terms;
    case "conditional":
      return [node.test, node.then, node.otherwise];
    case "list":
      return node.items.map((item) => item.value);
    case "map":
      return node.entries.flatMap((entry) => [entry.key, entry.value]);
    case "loop":
      return [node.range, node.test, node.body].filter((child) => child !== undefined);
    case "bind":
      return [node.value, node.body];
  }
}
