/** Methods that declare variables: `items.map(item, item.price)`. They are part of the grammar, not functions. */
import type { LoopMacro, Node } from "./syntax.ts";
import { SyntaxProblem } from "./syntax-problem.ts";

/** How many variables a macro may declare, and which shapes follow them: `t` a test, `b` a body. */
interface MacroShape {
  readonly macro: LoopMacro;
  readonly variables: readonly number[];
  readonly rest: readonly ("t" | "b" | "tb")[];
  readonly usage: string;
}

const macros = new Map<string, MacroShape>([
  ["all", { macro: "all", variables: [1, 2], rest: ["t"], usage: "list.all(x, condition)" }],
  ["exists", { macro: "exists", variables: [1, 2], rest: ["t"], usage: "list.exists(x, condition)" }],
  ["exists_one", { macro: "existsOne", variables: [1, 2], rest: ["t"], usage: "list.exists_one(x, condition)" }],
  ["existsOne", { macro: "existsOne", variables: [1, 2], rest: ["t"], usage: "list.existsOne(x, condition)" }],
  ["filter", { macro: "filter", variables: [1], rest: ["t"], usage: "list.filter(x, condition)" }],
  ["map", { macro: "map", variables: [1], rest: ["b", "tb"], usage: "list.map(x, value) or list.map(x, condition, value)" }],
  ["sortBy", { macro: "sortBy", variables: [1], rest: ["b"], usage: "list.sortBy(x, key)" }],
  ["transformList", { macro: "transformList", variables: [2], rest: ["b", "tb"], usage: "list.transformList(index, x, value)" }],
  ["transformMap", { macro: "transformMap", variables: [2], rest: ["b", "tb"], usage: "map.transformMap(key, x, value)" }],
  ["optMap", { macro: "optMap", variables: [1], rest: ["b"], usage: "optional.optMap(x, value)" }],
  ["optFlatMap", { macro: "optFlatMap", variables: [1], rest: ["b"], usage: "optional.optFlatMap(x, optional)" }],
]);

/** The macro that `target.name(args…)` means, or undefined when it is an ordinary method. */
export function expandMacro(target: Node, name: string, args: readonly Node[], at: number): Node | undefined {
  if (name === "bind" && target.kind === "name" && target.name === "cel") return expandBind(args, at);
  const shape = macros.get(name);
  if (!shape) return undefined;
  for (const count of shape.variables) {
    const rest = shape.rest.find((parts) => parts.length === args.length - count);
    if (!rest) continue;
    const variables = args.slice(0, count).map((argument) => variableName(argument, shape.usage));
    if (new Set(variables).size < count) throw new SyntaxProblem("the two variables must have different names", at);
    const parts = args.slice(count);
    const test = rest.startsWith("t") ? parts[0] : undefined;
    return { kind: "loop", at, macro: shape.macro, range: target, variables, test, body: rest.endsWith("b") ? parts.at(-1) : undefined };
  }
  throw new SyntaxProblem(`${name}() is written ${shape.usage}`, at);
}

function expandBind(args: readonly Node[], at: number): Node {
  const [variable, value, body] = args;
  if (!variable || !value || !body || args.length > 3) throw new SyntaxProblem("bind() is written cel.bind(x, value, body)", at);
  return { kind: "bind", at, variable: variableName(variable, "cel.bind(x, value, body)"), value, body };
}

function variableName(argument: Node, usage: string): string {
  if (argument.kind === "name") return argument.name;
  throw new SyntaxProblem(`a plain variable name is expected here: ${usage}`, argument.at);
}
