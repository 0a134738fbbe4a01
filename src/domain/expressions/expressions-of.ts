/** The expressions inside a template, each with the path of the text it stands in. */
import type { Expression, Template } from "./expression.ts";
import { joinPath } from "./read-key.ts";

/** In the order in which they are written; an expression alone has the path "". */
export function* expressionsOf(template: Template, path = ""): Generator<readonly [Expression, string]> {
  switch (template.kind) {
    case "constant":
      return;
    case "expression":
      yield [template, path];
      return;
    case "text":
      for (const part of template.parts) if (typeof part !== "string") yield [part, path];
      return;
    case "list":
      for (const [index, item] of template.items.entries()) yield* expressionsOf(item, `${path}[${index}]`);
      return;
    case "object":
      for (const [key, entry] of template.entries) yield* expressionsOf(entry, memberPath(path, key));
      return;
  }
}

/** Path of a member as faults show it: `headers.x`, `a["b c"]`, and without a dot in front at the top. */
export function memberPath(path: string, key: string): string {
  return path === "" && /^[A-Za-z_][A-Za-z0-9_]*$/.test(key) ? key : joinPath(path, key);
}
