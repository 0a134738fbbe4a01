/** The option `delimiter` of the file operations: what separates the columns of a text table. */
import type { JsonObject } from "../base/json.ts";
import { textField } from "./config-fields.ts";
import type { Report } from "./report.ts";

export function checkDelimiter(options: JsonObject, path: string, report: Report): void {
  const delimiter = textField(options, "delimiter");
  if (delimiter !== undefined && !/^(?:\\t|[^"\r\n])$/u.test(delimiter)) report(path, "VALIDATION_FAILED", "is neither one character nor \\t");
}

/** A tabulator may be written as `\t`, so that people see it. */
export function delimiterField(options: JsonObject): string | undefined {
  const delimiter = textField(options, "delimiter");
  return delimiter === "\\t" ? "\t" : delimiter;
}
