/**
 * All violations of a message, nested ones included. The library (protovalidate 1.3.0) loses rules where message types
 * contain each other: while it plans `Step` → `ForEachStep` → `Step`, the inner plan is still empty, is taken for one
 * without rules and dropped, so a bad step inside a block would pass. Hence messages of such types are checked once more,
 * each as a root. A flat message costs nothing extra.
 */
import { type DescField, type DescMessage, getOption, type Message } from "@bufbuild/protobuf";
import { type Path, pathToString, type ReflectList, type ReflectMap, type ReflectMessage, reflect } from "@bufbuild/protobuf/reflect";
import { type Validator, Violation } from "@bufbuild/protovalidate";
import { field as fieldRules, Ignore } from "#gen/buf/validate/validate_pb.js";

/** Throws when a rule cannot be compiled or evaluated, which is a bug in the contract. */
export function findViolations(validator: Validator, desc: DescMessage, message: Message): Violation[] {
  const found = new Map<string, Violation>();
  collect(validator, desc, message, [], found);
  if (nests(desc)) walk(validator, reflect(desc, message), [], found);
  return [...found.values()];
}

function collect(validator: Validator, desc: DescMessage, message: Message, prefix: Path, found: Map<string, Violation>): void {
  const result = validator.validate(desc, message);
  if (result.kind === "error") throw result.error;
  for (const violation of result.violations ?? []) {
    const field = [...prefix, ...violation.field];
    const key = `${pathToString(field)} ${violation.ruleId} ${violation.forKey}`;
    if (!found.has(key)) found.set(key, new Violation(violation.message, violation.ruleId, field, violation.rule, violation.forKey));
  }
}

function walk(validator: Validator, parent: ReflectMessage, path: Path, found: Map<string, Violation>): void {
  for (const field of nestingFields(parent.desc)) {
    if (!parent.isSet(field)) continue;
    for (const [child, subscript] of children(parent, field)) {
      const childPath = subscript ? [...path, field, subscript] : [...path, field];
      // The plan of a parent that is not in the circle is complete, so it has checked this child already.
      if (isCircular(parent.desc) && isCircular(child.desc)) collect(validator, child.desc, child.message, childPath, found);
      walk(validator, child, childPath, found);
    }
  }
}

function children(parent: ReflectMessage, field: DescField): [ReflectMessage, Path[number]?][] {
  switch (field.fieldKind) {
    case "list":
      return [...(parent.get(field) as ReflectList)].map((item, index) => [item as ReflectMessage, { kind: "list_sub", index }]);
    case "map":
      return [...(parent.get(field) as ReflectMap)].map(([key, item]) => [item as ReflectMessage, { kind: "map_sub", key: key as string }]);
    default:
      return [[parent.get(field) as ReflectMessage]];
  }
}

const nestingFieldsOf = new WeakMap<DescMessage, readonly DescField[]>();
/** Fields below which a circular type can be; those that the contract leaves unchecked are left out. */
export function nestingFields(desc: DescMessage): readonly DescField[] {
  let fields = nestingFieldsOf.get(desc);
  if (!fields) {
    fields = desc.fields.filter((field) => field.message && getOption(field, fieldRules).ignore !== Ignore.ALWAYS && nests(field.message));
    nestingFieldsOf.set(desc, fields);
  }
  return fields;
}

/** Whether a circular type is in `desc` or below. */
function nests(desc: DescMessage): boolean {
  return isCircular(desc) || [...reachable(desc)].some(isCircular);
}

function isCircular(desc: DescMessage): boolean {
  return reachable(desc).has(desc);
}

const reachableOf = new WeakMap<DescMessage, ReadonlySet<DescMessage>>();
/** Types that a message of type `desc` can contain; google.protobuf.Value and its kin have no rules and count for nothing. */
function reachable(desc: DescMessage): ReadonlySet<DescMessage> {
  const known = reachableOf.get(desc);
  if (known) return known;
  const seen = new Set<DescMessage>();
  const visit = (message: DescMessage): void => {
    for (const field of message.fields) {
      if (!field.message || seen.has(field.message) || field.message.typeName.startsWith("google.protobuf.")) continue;
      seen.add(field.message);
      visit(field.message);
    }
  };
  visit(desc);
  reachableOf.set(desc, seen);
  return seen;
}
