import { describe, expect, it } from "vitest";
import { executionStateWords } from "../../../src/rpc/wire/enums.ts";
import { type FilterFields, type FilterTerm, parseFilter } from "../../../src/rpc/wire/filter.ts";
import { fc } from "../../support/property.ts";

const fields: FilterFields = {
  name: { kind: "text", operators: ["=", "!=", ":"] },
  id: { kind: "text", operators: ["="], star: "never", negatable: false, valuesMax: 1 },
  "failure.reason": { kind: "text", operators: ["=", "!="] },
  start: { kind: "text", operators: ["="] },
  state: { kind: "enum", operators: ["=", "!="], words: executionStateWords },
  stuck: { kind: "bool", operators: ["="] },
  priority: { kind: "number", operators: ["=", "<", "<=", ">", ">="] },
  create_time: { kind: "time", operators: ["<", "<=", ">", ">="] },
  tags: { kind: "list", operators: [":"] },
  labels: { kind: "labels", operators: ["=", "!=", ":"] },
};

function terms(text: string): readonly FilterTerm[] {
  const parsed = parseFilter(text, fields);
  if (!parsed.ok) throw parsed.fault;
  return parsed.value;
}

/** Terms in one line each, as they would be written without brackets. */
const shown = (text: string): string[] =>
  terms(text).map(({ field, label, operator, negated, values }) => {
    const any = values.map(({ value, prefix }) => `${JSON.stringify(value)}${prefix ? "*" : ""}`).join("|");
    return `${negated ? "NOT " : ""}${field}${label === undefined ? "" : `[${label}]`} ${operator} ${any}`;
  });

function fault(text: string): { column: number; message: string } {
  const parsed = parseFilter(text, fields);
  if (parsed.ok) throw new Error(`${text} was taken: ${JSON.stringify(parsed.value)}`);
  expect(parsed.fault.reason).toBe("FILTER_INVALID");
  expect(parsed.fault.violations[0]?.field).toBe("filter");
  return { column: Number(parsed.fault.metadata["column"]), message: parsed.fault.message };
}

describe("a filter", () => {
  it("is a list of terms", () => {
    expect(shown("")).toEqual([]);
    expect(shown("  ")).toEqual([]);
    expect(shown("state = FAILED")).toEqual(['state = "failed"']);
    expect(shown('state=FAILED AND name="a b" priority>=-1.5')).toEqual(['state = "failed"', 'name = "a b"', "priority >= -1.5"]);
    expect(shown('failure.reason = "HTTP.5*" AND stuck = true')).toEqual(['failure.reason = "HTTP.5"*', "stuck = true"]);
    expect(shown("tags:nightly AND labels.team:* AND labels.a.b/c-d != 'x'")).toEqual(['tags : "nightly"', 'labels[team] : ""*', 'NOT labels[a.b/c-d] = "x"']);
  });

  it("binds OR tighter than AND", () => {
    expect(shown("name = a AND state = FAILED OR state = STUCK AND stuck = false")).toEqual(['name = "a"', 'state = "failed"|"stuck"', "stuck = false"]);
    expect(shown("(state = FAILED OR state = STUCK OR (state = PENDING)) AND (name = a AND (name = b*))")).toEqual([
      'state = "failed"|"stuck"|"pending"',
      'name = "a"',
      'name = "b"*',
    ]);
  });

  it("negates one condition or one group of values, twice is not at all", () => {
    expect(shown("NOT state = FAILED")).toEqual(['NOT state = "failed"']);
    expect(shown("NOT (state = FAILED OR state = STUCK)")).toEqual(['NOT state = "failed"|"stuck"']);
    expect(shown("NOT NOT state != FAILED")).toEqual(['NOT state = "failed"']);
    expect(shown("NOT state != FAILED")).toEqual(['state = "failed"']);
  });

  it("reads moments with and without quotes, in any offset", () => {
    const noon = Date.parse("2030-01-31T12:00:00Z");
    for (const text of ['"2030-01-31T12:00:00Z"', "2030-01-31T12:00:00Z", "'2030-01-31T14:00:00.000+02:00'"]) {
      expect(terms(`create_time > ${text}`)[0]?.values[0].value, text).toBe(noon);
    }
  });

  it("takes any text in quotes, stars, keywords and brackets included", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 50 }), fc.constantFrom('"', "'"), (text, quote) => {
        const escaped = text.replaceAll(/[\\"'*]/g, (character) => `\\${character}`);
        expect(terms(`name = ${quote}${escaped}${quote}`)[0]?.values).toEqual([{ value: text, prefix: false }]);
        expect(terms(`name = ${quote}${escaped}*${quote}`)[0]?.values).toEqual([{ value: text, prefix: true }]);
      }),
    );
    expect(shown('name = "AND" AND name = "a OR b" AND name = NOT')).toEqual(['name = "AND"', 'name = "a OR b"', 'name = "NOT"']);
  });

  it("answers every text with terms or a fault inside it, never with anything else", () => {
    const piece = fc.constantFrom(
      "state",
      "=",
      "FAILED",
      "AND",
      "OR",
      "NOT",
      "(",
      ")",
      "name",
      "*",
      '"',
      "'",
      ":",
      "labels.x",
      "!",
      "<=",
      "\\",
      " ",
      "é",
      "__proto__",
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.array(piece, { maxLength: 20 }).map((pieces) => pieces.join(" ")),
          fc.string({ unit: "binary" }),
        ),
        (text) => {
          const parsed = parseFilter(text, fields);
          if (parsed.ok) return;
          const column = Number(parsed.fault.metadata["column"]);
          expect(column).toBeGreaterThanOrEqual(1);
          expect(column).toBeLessThanOrEqual(text.length + 1);
        },
      ),
      { numRuns: 2_000 },
    );
  });
});

describe("a filter is refused, with the column,", () => {
  it.each([
    ["of a field that is not on the list", "state = FAILED AND colour = red", 20],
    ["of an inherited name", "constructor = a", 1],
    ["of labels without a key", "labels = a", 1],
    ["of labels with an empty key", "labels. = a", 1],
    ["of an operator the field does not take", "state < FAILED", 7],
    ["where the operator is missing", "state", 6],
    ["where the value is missing", "state =", 8],
    ["where the value is an operator", "name = =", 8],
    ["of an unknown state", "state = LOST", 9],
    ["of a number that is none", "priority > 1e3", 12],
    ["of a truth that is none", "stuck = yes", 9],
    ["of a day that does not exist", 'create_time > "2030-13-01T00:00:00Z"', 15],
    ["of a day that its month does not have", 'create_time > "2030-02-30T12:00:00Z"', 15],
    ["of a star where none may stand", "state = FAIL*", 9],
    ["of a star after an id", "id = a*", 6],
    ["of quotes that do not end", 'name = "abc', 8],
    ["of a bracket that is not closed", "(state = FAILED", 16],
    ["of a bracket too much", "state = FAILED)", 15],
    ["of AND without a right side", "state = FAILED AND", 19],
    ["of OR without a left side", "OR state = FAILED", 1],
    ["of OR between two fields", "state = FAILED OR name = a", 16],
    ["of OR between two labels", "labels.a = x OR labels.b = x", 14],
    ["of OR with a negation", "state = FAILED OR state != STUCK", 16],
    ["of OR with a comparison", "priority > 5 OR priority > 7", 14],
    ["of OR with a conjunction", "state = FAILED OR (state = STUCK AND state = PENDING)", 16],
    ["of OR where one value is taken", "id = a OR id = b", 8],
    ["of NOT before a conjunction", "NOT (state = FAILED AND name = a)", 1],
    ["of NOT where it is not taken", "NOT id = a", 1],
    ["of an operator character alone", "name = a ! b", 10],
    ["of a quoted field", '"state" = FAILED', 1],
  ])("because %s", (_why, text, column) => {
    expect(fault(text).column).toBe(column);
  });

  it("when it is too long, too deep or has too many conditions", () => {
    expect(fault(`name = "${"é".repeat(2_050)}"`).message).toContain("4096 bytes");
    expect(fault(`${"(".repeat(11)}name = a${")".repeat(11)}`).message).toContain("deeper than 10");
    expect(fault(`${"NOT ".repeat(1_000)}name = a`).message).toContain("deeper than 10");
    expect(terms(`${"(".repeat(10)}name = a${")".repeat(10)}`)).toHaveLength(1);
    const conditions = (count: number): string => Array.from({ length: count }, (_, index) => `name = n${index}`).join(" OR ");
    expect(terms(conditions(100))[0]?.values).toHaveLength(100);
    expect(fault(conditions(101)).message).toContain("at most 100 conditions");
  });
});
