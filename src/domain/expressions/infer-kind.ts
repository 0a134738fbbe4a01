/** What kind of value an expression surely has, as far as its text alone tells. */
import type { Expression } from "./expression.ts";
import { pathRead } from "./references.ts";
import type { LoopMacro, Node } from "./syntax.ts";
import { type Kind, kindOf } from "./value.ts";

/**
 * The kind of every value that `expression` can have, or undefined when it depends on data. Lets a checker refuse
 * `trigger.data.total + 1` as a condition, and `'5 minutes'` where a duration is needed, before anything runs.
 */
export function inferKind(expression: Expression, kindAt: KindAt = () => undefined): Kind | undefined {
  return infer(expression.syntax, kindAt);
}

/** What is known of the data: the kind at a path from a variable. */
export type KindAt = (root: string, path: readonly (string | number)[]) => Kind | undefined;

const kindsByFunction: ReadonlyMap<string, Kind> = new Map<string, Kind>([
  ...named("int", ["int", "size", "indexOf", "lastIndexOf"]),
  ...named("int", [
    "getFullYear",
    "getMonth",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getHours",
    "getMinutes",
    "getSeconds",
    "getMilliseconds",
  ]),
  ...named("uint", ["uint"]),
  ...named("double", ["double", "avg", "math.sqrt"]),
  ...named("bool", ["bool", "contains", "startsWith", "endsWith", "matches", "hasValue", "math.isNaN", "math.isInf", "math.isFinite"]),
  ...named("string", ["string", "charAt", "lowerAscii", "upperAscii", "trim", "replace", "substring", "join", "format", "strings.quote"]),
  ...named("string", ["json.encode", "base64.encode", "sha256", "uuid"]),
  ...named("bytes", ["bytes", "base64.decode"]),
  ...named("duration", ["duration"]),
  ...named("timestamp", ["timestamp"]),
  ...named("type", ["type"]),
  ...named("list", ["split", "slice", "flatten", "distinct", "sort", "lists.range", "optional.unwrap", "unwrapOpt"]),
  ...named("optional", ["optional.of", "optional.none", "optional.ofNonZeroValue", "first", "last", "or"]),
]);

const kindsByMacro: Readonly<Record<LoopMacro, Kind>> = {
  all: "bool",
  exists: "bool",
  existsOne: "bool",
  map: "list",
  filter: "list",
  sortBy: "list",
  transformList: "list",
  transformMap: "map",
  optMap: "optional",
  optFlatMap: "optional",
};

const arithmetic = new Set(["+", "-", "*", "/", "%"]);

function named(kind: Kind, names: readonly string[]): (readonly [string, Kind])[] {
  return names.map((name) => [name, kind]);
}

function infer(node: Node, kindAt: KindAt): Kind | undefined {
  switch (node.kind) {
    case "literal":
      return kindOf(node.value);
    case "has":
    case "logic":
      return "bool";
    case "unary":
      return node.operator === "!" ? "bool" : infer(node.operand, kindAt);
    case "binary":
      return arithmetic.has(node.operator) ? inferArithmetic(infer(node.left, kindAt), infer(node.right, kindAt), node.operator) : "bool";
    case "conditional": {
      const kind = infer(node.then, kindAt);
      return kind === infer(node.otherwise, kindAt) ? kind : undefined;
    }
    case "list":
      return "list";
    case "map":
      return "map";
    case "loop":
      return kindsByMacro[node.macro];
    case "bind":
      // Its variable may hide one of the data.
      return infer(node.body, () => undefined);
    case "call":
      return kindsByFunction.get(node.name);
    case "method":
      return kindsByFunction.get(node.target.kind === "name" ? `${node.target.name}.${node.name}` : node.name) ?? kindsByFunction.get(node.name);
    case "select":
    case "index":
      return node.optional ? "optional" : readKind(node, kindAt);
    case "name":
      return readKind(node, kindAt);
  }
}

function readKind(node: Node, kindAt: KindAt): Kind | undefined {
  const read = pathRead(node);
  return read && kindAt(read.root, read.path);
}

/** Both sides must be known: next to a value from data, `1 +` may be int or double. */
function inferArithmetic(left: Kind | undefined, right: Kind | undefined, operator: string): Kind | undefined {
  if (left === undefined || right === undefined) return undefined;
  if (left === "double" || right === "double") return "double";
  if (left === "timestamp" && right === "timestamp") return "duration";
  if (left === "timestamp" || right === "timestamp") return "timestamp";
  return left === right && (operator === "+" || left !== "string") ? left : undefined;
}
