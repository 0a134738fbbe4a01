/** Types of a definition's expressions and results, as far as texts and schemas tell. */
import { joinPath } from "./compile-field.ts";
import type { Definition, Step } from "./definition.ts";
import type { Expression, Template } from "./expressions/expression.ts";
import { inferKind, type KindAt } from "./expressions/infer-kind.ts";
import type { Kind } from "./expressions/value.ts";
import { placeIn } from "./schema-kind.ts";

export interface InferredType {
  /** Proto path of the expression, or `steps.<name>.result`. */
  readonly path: string;
  /** CEL type; `dyn` is not known. */
  readonly type: string;
}

/** More than this helps nobody. */
const typesMax = 1_000;

const celTypes: Partial<Record<Kind, string>> = { list: "list(dyn)", map: "map(dyn, dyn)", null: "null_type", optional: "optional_type(dyn)" };

/** In the order of the definition; `kindAt` knows the schemas of the data. */
export function inferredTypes(definition: Definition, kindAt: KindAt): InferredType[] {
  const types: InferredType[] = [];
  const add = (path: string, expression: Expression | undefined): void => {
    if (expression && types.length < typesMax) types.push({ path, type: typeName(inferKind(expression, kindAt)) });
  };
  const addTemplate = (path: string, template: Template | undefined): void => {
    switch (template?.kind) {
      case "expression":
        return add(path, template);
      case "list":
        for (const [index, item] of template.items.entries()) addTemplate(`${path}[${index}]`, item);
        return;
      case "object":
        for (const [key, member] of template.entries) addTemplate(joinPath(path, key), member);
        return;
    }
  };
  const addStep = (step: Step): void => {
    const at = `${step.at}.${step.type}`;
    add(`${step.at}.run_if`, step.runIf);
    addTemplate(at, step.config.rendered);
    for (const [field, deferred] of step.config.deferred) addTemplate(`${at}.${field}`, deferred);
    if (step.block?.kind === "for_each") {
      add(`${at}.items`, step.block.items);
      add(`${at}.collect`, step.block.collect);
    }
    step.sequences.forEach(({ when, steps }, index) => {
      add(`${at}.cases[${index}].when`, when);
      steps.forEach(addStep);
    });
    for (const [variable, expression] of step.exports) add(`${step.at}.export.${variable}`, expression);
    step.catches.forEach(({ when, steps }, index) => {
      add(`${step.at}.on_error.catches[${index}].when`, when);
      steps.forEach(addStep);
    });
    if (step.compensation?.step) addTemplate(`${step.compensation.step.at}.${step.compensation.step.type}`, step.compensation.step.config.rendered);
    const place = step.resultSchema && placeIn(step.resultSchema, []);
    if (place && "kind" in place && types.length < typesMax) types.push({ path: `steps.${step.name}.result`, type: typeName(place.kind) });
  };
  addTemplate("definition.variables", definition.variables);
  definition.steps.forEach(addStep);
  addTemplate("definition.outputs", definition.outputs);
  return types;
}

/** What the schemas say of `trigger.data`, `params` and `steps.x.result`. */
export function kindsOfData({ inputSchema, stepsByName }: Definition, parametersSchema: Definition["inputSchema"]): KindAt {
  return (root, path) => {
    const [schema, from] =
      root === "trigger" && path[0] === "data"
        ? [inputSchema, 1]
        : root === "params"
          ? [parametersSchema, 0]
          : root === "steps" && path[1] === "result"
            ? [stepsByName.get(String(path[0]))?.resultSchema, 2]
            : [undefined, 0];
    const place = schema && placeIn(schema, path.slice(from));
    return place && "kind" in place ? place.kind : undefined;
  };
}

function typeName(kind: Kind | undefined): string {
  return kind === undefined ? "dyn" : (celTypes[kind] ?? kind);
}
