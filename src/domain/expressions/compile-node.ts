/**
 * Tree → functions. Each node becomes a closure that is called once per evaluation, so a name is looked up and a
 * function chosen at compile time; what runs is reading, calculating and paying. Loops are in `compile-loop.ts`.
 */
import { compileLoop } from "./compile-loop.ts";
import type { Evaluate } from "./expression.ts";
import { findFunction } from "./find-function.ts";
import { type Findings, findLocal, type Locals, nextSlot } from "./locals.ts";
import { addEntry } from "./map-entry.ts";
import { needBool } from "./need-bool.ts";
import { applyOperator, negate } from "./operators.ts";
import { needOptional } from "./optional-functions.ts";
import { Problem, quoted } from "./problem.ts";
import { hasKey, joinPath, needKey, readOptionalKey } from "./read-key.ts";
import type { ListItem, MapEntry, Node } from "./syntax.ts";
import { parseTimestamp } from "./time.ts";
import { type MapKey, type Optional, TypeName, typeNames, type Value } from "./value.ts";
import { wholeNumber } from "./whole-number.ts";

export function compileNode(node: Node, locals: Locals | undefined, findings: Findings): Evaluate {
  const compile = (child: Node) => compileNode(child, locals, findings);
  switch (node.kind) {
    case "literal":
      return () => node.value;
    case "name":
      return compileName(node.name, locals);
    case "select":
    case "index":
      return compileMember(node, locals, compile);
    case "has": {
      const operand = compile(node.operand);
      return (frame) => hasKey(operand(frame), node.field);
    }
    case "call":
    case "method":
      return compileCall(node, locals, compile, findings);
    case "unary": {
      const operand = compile(node.operand);
      return node.operator === "-" ? (frame) => negate(operand(frame)) : (frame) => !needBool(operand(frame), "`!`");
    }
    case "binary": {
      const left = compile(node.left);
      const right = compile(node.right);
      return (frame) => {
        const leftValue = left(frame);
        const rightValue = right(frame);
        frame.budget.charge(1);
        return applyOperator(node.operator, leftValue, rightValue, frame.budget);
      };
    }
    case "logic":
      return compileLogic(node.operator, node.terms.map(compile));
    case "conditional": {
      const [test, then, otherwise] = [compile(node.test), compile(node.then), compile(node.otherwise)];
      return (frame) => {
        frame.budget.charge(1);
        return needBool(test(frame), "the condition before `?`") ? then(frame) : otherwise(frame);
      };
    }
    case "list":
      return compileList(node.items, compile);
    case "map":
      return compileMap(node.entries, compile);
    case "loop":
      return compileLoop(node, locals, findings, compileNode);
    case "bind": {
      const slot = nextSlot(locals);
      const value = compile(node.value);
      const body = compileNode(node.body, { name: node.variable, slot, outer: locals }, findings);
      return (frame) => {
        frame.locals[slot] = value(frame);
        return body(frame);
      };
    }
  }
}

/** `steps.a["b c"].d` as text for messages, or undefined when the value does not come from a plain path. */
function pathOf(node: Node): string | undefined {
  if (node.kind === "name") return node.name;
  if (node.kind === "select") {
    const path = pathOf(node.operand);
    return path === undefined ? undefined : joinPath(path, node.field);
  }
  if (node.kind !== "index" || node.index.kind !== "literal") return undefined;
  const path = pathOf(node.operand);
  const key = node.index.value;
  if (path === undefined) return undefined;
  return typeof key === "string" ? joinPath(path, key) : `${path}[${wholeNumber(key) ?? "?"}]`;
}

export function noSuchVariable(name: string): Problem {
  return new Problem(`there is no variable ${quoted(name)} here`, name);
}

/** `google.protobuf.Timestamp`, the only kind of type name with dots. */
export function typeNameOf(node: Node): string | undefined {
  if (node.kind !== "select" || node.operand.kind !== "select" || node.operand.operand.kind !== "name") return undefined;
  const name = `${node.operand.operand.name}.${node.operand.field}.${node.field}`;
  return typeNames.has(name) ? name : undefined;
}

function compileName(name: string, locals: Locals | undefined): Evaluate {
  const local = findLocal(name, locals);
  if (local) return (frame) => frame.locals[local.slot] as Value;
  const type = typeNames.has(name) ? new TypeName(name) : undefined;
  return (frame) => {
    const value = Object.hasOwn(frame.scope, name) ? frame.scope[name] : type;
    if (value === undefined) throw noSuchVariable(name);
    // The one variable that is a moment: JSON brings it as text, expressions calculate with it.
    if (name === "now" && typeof value === "string") return parseTimestamp(value);
    return value;
  };
}

function compileMember(node: Node & { readonly kind: "select" | "index" }, locals: Locals | undefined, compile: (child: Node) => Evaluate): Evaluate {
  const typeName = typeNameOf(node);
  if (typeName !== undefined && !findLocal("google", locals)) {
    const type = new TypeName(typeName);
    return () => type;
  }
  const operand = compile(node.operand);
  const operandPath = () => pathOf(node.operand);
  if (node.kind === "select") {
    const { field } = node;
    return node.optional ? (frame) => readOptionalKey(operand(frame), field) : (frame) => needKey(operand(frame), field, operandPath);
  }
  const index = compile(node.index);
  return node.optional
    ? (frame) => readOptionalKey(operand(frame), index(frame))
    : (frame) => {
        const holder = operand(frame);
        return needKey(holder, index(frame), operandPath);
      };
}

function compileCall(
  node: Node & { readonly kind: "call" | "method" },
  locals: Locals | undefined,
  compile: (child: Node) => Evaluate,
  findings: Findings,
): Evaluate {
  if (node.kind === "method" && (node.name === "or" || node.name === "orValue") && node.args.length === 1) {
    return compileOr(node.name, compile(node.target), compile(node.args[0] as Node));
  }
  const found = findFunction(node, (name) => findLocal(name, locals) !== undefined);
  if (found.function.usesContext) findings.usesContext = true;
  const args = found.args.map(compile);
  const { call } = found.function;
  return (frame) => {
    const values = args.map((argument) => argument(frame));
    frame.budget.charge(1);
    return call(values, frame);
  };
}

/** The alternative is only evaluated when it is needed. */
function compileOr(name: "or" | "orValue", target: Evaluate, alternative: Evaluate): Evaluate {
  return (frame) => {
    frame.budget.charge(1);
    const optional = needOptional(target(frame), `${name}()`);
    if (optional.value !== undefined) return name === "or" ? optional : optional.value;
    const other = alternative(frame);
    return name === "or" ? needOptional(other, "or()") : other;
  };
}

/** A side that decides wins over a side that fails: `false && x.missing` is false, and so is `x.missing && false`. */
function compileLogic(operator: "&&" | "||", terms: readonly Evaluate[]): Evaluate {
  const decisive = operator === "||";
  return (frame) => {
    let problem: Problem | undefined;
    for (const term of terms) {
      frame.budget.charge(1);
      try {
        if (needBool(term(frame), `each side of \`${operator}\``) === decisive) return decisive;
      } catch (error) {
        if (!(error instanceof Problem)) throw error;
        problem ??= error;
      }
    }
    if (problem) throw problem;
    return !decisive;
  };
}

function compileList(items: readonly ListItem[], compile: (child: Node) => Evaluate): Evaluate {
  const literals = items.flatMap((item) => (item.value.kind === "literal" && !item.optional ? [item.value.value] : []));
  if (literals.length === items.length) return () => literals;
  const parts = items.map((item) => ({ evaluate: compile(item.value), optional: item.optional }));
  return (frame) => {
    frame.budget.chargeElements(parts.length);
    const list: Value[] = [];
    for (const { evaluate, optional } of parts) {
      const value = evaluate(frame);
      if (!optional) list.push(value);
      else if (needOptional(value, "`[?x]`").value !== undefined) list.push((value as Optional).value as Value);
    }
    return list;
  };
}

function compileMap(entries: readonly MapEntry[], compile: (child: Node) => Evaluate): Evaluate {
  const parts = entries.map((entry) => ({ key: compile(entry.key), value: compile(entry.value), optional: entry.optional }));
  return (frame) => {
    frame.budget.chargeElements(parts.length);
    const map = new Map<MapKey, Value>();
    for (const part of parts) {
      const key = part.key(frame);
      const value = part.value(frame);
      const member = part.optional ? needOptional(value, "`{?key: x}`").value : value;
      if (member !== undefined) addEntry(map, key, member);
    }
    return map;
  };
}
