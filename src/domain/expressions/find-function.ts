/** Which function a call means; a name, a number of arguments or a literal that cannot work is a fault at save. */
import type { CelFunction } from "./function-table.ts";
import { functions, methods, namespaces } from "./functions.ts";
import { patternFault } from "./match-pattern.ts";
import { Problem } from "./problem.ts";
import type { Node } from "./syntax.ts";
import { SyntaxProblem } from "./syntax-problem.ts";
import { parseDuration, parseTimestamp } from "./time.ts";

type Call = Node & { readonly kind: "call" | "method" };

/** Throws SyntaxProblem. `isVariable` tells names of loops, which hide namespaces. */
export function findFunction(call: Call, isVariable: (name: string) => boolean): { readonly function: CelFunction; readonly args: readonly Node[] } {
  const namespace = call.kind === "method" && call.target.kind === "name" && !isVariable(call.target.name) ? call.target.name : undefined;
  const qualified = namespace === undefined ? undefined : functions.get(`${namespace}.${call.name}`);
  const isFunction = call.kind === "call" || qualified !== undefined || (namespace !== undefined && namespaces.has(namespace));
  const found = qualified ?? (isFunction ? functions.get(namespace === undefined ? call.name : `${namespace}.${call.name}`) : methods.get(call.name));
  if (!found) throw unknownFunction(call, isFunction ? namespace : undefined);
  const args = call.kind === "call" || isFunction ? call.args : [call.target, ...call.args];
  const [fewest, most] = found.arguments;
  if (args.length < fewest || args.length > most) throw new SyntaxProblem(`${call.name}() is written ${found.usage}`, call.at);
  checkLiterals(call);
  return { function: found, args };
}

function unknownFunction(call: Call, namespace: string | undefined): SyntaxProblem {
  const name = namespace === undefined ? call.name : `${namespace}.${call.name}`;
  const isMethod = call.kind === "method" && namespace === undefined;
  const other = (isMethod ? functions : methods).get(call.name);
  if (other) return new SyntaxProblem(`${name}() is written ${other.usage}`, call.at);
  const similar = [...(isMethod ? methods : functions).keys()].find((known) => isSimilar(known, name));
  return new SyntaxProblem(`there is no ${isMethod ? "method" : "function"} ${name}()${similar ? `; did you mean ${similar}()?` : ""}`, call.at);
}

function isSimilar(known: string, name: string): boolean {
  const [a, b] = [known.toLowerCase(), name.toLowerCase()];
  return a === b || (b.length > 2 && (a.startsWith(b) || b.startsWith(a)));
}

const literalChecks: Readonly<Record<string, (text: string) => unknown>> = { duration: parseDuration, timestamp: parseTimestamp };

function checkLiterals(call: Call): void {
  const last = call.args.at(-1);
  if (last?.kind !== "literal" || typeof last.value !== "string") return;
  if (call.name === "matches") {
    const fault = patternFault(last.value);
    if (fault) throw new SyntaxProblem(fault, last.at);
  }
  if (call.kind !== "call" || !Object.hasOwn(literalChecks, call.name)) return;
  try {
    literalChecks[call.name]?.(last.value);
  } catch (error) {
    if (error instanceof Problem) throw new SyntaxProblem(error.message, last.at);
    throw error;
  }
}
