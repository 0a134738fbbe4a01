/** What a value that does not fit its schema is told: words that go on from the name of the place. */
import { expect, test } from "vitest";
import type { Json, JsonObject } from "../../src/base/json.ts";
import { findSchemaFault } from "../../src/domain/json-schema.ts";

test.each<[JsonObject, Json, string]>([
  [{ type: "number" }, "x", 'is of type string, expected "number"'],
  [{ type: ["number", "null"] }, "x", 'is of type string, expected "number", "null"'],
  [{ required: ["a"] }, {}, 'lacks the required property "a"'],
  [{ enum: [1, 2] }, 3, "must be one of [1,2]"],
  [{ const: 1 }, 3, "does not match 1"],
  [{ maxLength: 1 }, "ab", "is too long (2 > 1)"],
  [{ pattern: "^a$" }, "b", "does not match pattern"],
  [{ additionalProperties: false }, { a: 1 }, "is not allowed"],
])("%j and %j", (schema, value, problem) => {
  expect(findSchemaFault(schema, value)?.problem).toBe(problem);
});
